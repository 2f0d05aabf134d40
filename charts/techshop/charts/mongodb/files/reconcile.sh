#!/bin/bash
# Bring the replica set to what the chart says, from any state, for ever. Runs beside every mongod; only the primary's
# (or, where no set exists yet, member 0's) acts. mongosh starts only when there is something to change.
set -u
umask 077

say() { # one line for each decision, not one for each look
  [[ $1 == "${said:-}" ]] || echo "$(date -u +%H:%M:%SZ) $1"
  said=$1
}
hello() { timeout 3 bash /scripts/hello.sh "$1" 2> /dev/null; }
run() { # run FILE [ADDRESS]: a program of ours in mongosh, and say what it did
  local output
  output=$(timeout 60 mongosh --quiet --norc --file "/scripts/$1" "${2:---nodb}" 2>&1) && ok=0 || ok=$?
  while read -r line; do say "$line"; done <<< "${output:-$1: done}"
  return "$ok"
}
change() { ACTION=$1 run change.js "mongodb://127.0.0.1:27017/?$OPTIONS"; }
listens() { [[ $(< /proc/net/tcp) == *:6989\ 00000000:0000\ 0A\ * ]]; } # port 27017, without a connection to be logged
wishes() { cat /secrets/* /scripts/compatibility | sha256sum; }
renewed() { [[ $TLS == true ]] && ! cat /tls/tls.crt /tls/tls.key | cmp --silent - /run/mongodb/tls.pem; }

export OPTIONS='directConnection=true'
[[ $TLS == false ]] || OPTIONS+='&tls=true&tlsCAFile=/tls/ca.crt&tlsAllowInvalidHostnames=true'

for_ever() {
  local wanted=() reachable=() granted='' lonely=0 primary='' looks=0 reply now before member peer
  while true; do
    # When a primary's process was killed, the others would notice after the election timeout only.
    for _ in {1..6}; do
      sleep 0.5
      [[ -z $primary ]] || listens || { primary='' && run takeover.js; }
    done
    mapfile -t wanted < /scripts/members
    # Users may be changed by others, or come back from a backup: every ten minutes they are looked at.
    ((++looks % 200)) || granted=''
    reply=$(hello 127.0.0.1) || { say 'waiting for mongod to answer'; continue; }

    # mongod goes on with the certificate it read at its start; an issuer changes it long before that ends.
    if renewed; then
      cat /tls/tls.crt /tls/tls.key > /run/mongodb/tls.pem
      change certificates || rm /run/mongodb/tls.pem
    fi

    [[ $reply != *$'primary\n'* ]] || lonely=0
    primary=''
    if [[ $reply == *$'isWritablePrimary\n+'* ]]; then
      primary=yes
      now=$(grep -oE '^[A-Za-z0-9.-]+:27017$' <<< "$reply" | sort -u)
      if [[ $now != "$(printf '%s\n' "${wanted[@]}" | sort -u)" || $granted != "$(wishes)" ]]; then
        reachable=()
        for member in "${wanted[@]}"; do
          hello "${member%:*}" > /dev/null && reachable+=("$member")
        done
        before=$(wishes)
        export REACHABLE="${reachable[*]}"
        change reconcile && granted=$before
      else
        say "primary of ${#wanted[@]} member(s), as wanted"
      fi

    elif [[ $reply == *setName* ]]; then
      if [[ $reply == *$'primary\n'* ]]; then
        say 'member of the set; the primary decides'
      else
        lonely=$((lonely + 1))
        ((lonely > 1)) || say 'member of the set, which has no primary: it needs a majority of its members up'
        ((lonely % 10)) || change explain
      fi

    elif [[ $POD_NAME == *-0 ]]; then
      # A second set must never be made beside a first one: every other member has to say that it knows of none.
      for member in "${wanted[@]:1}"; do
        peer=$(hello "${member%:*}") || { say "no set yet; waiting for ${member%%.*} to say whether it knows one"; continue 2; }
        [[ $peer != *setName* ]] || { say "${member%%.*} is in a set already; waiting to be taken in"; continue 2; }
      done
      change initiate

    else
      say 'in no set yet; the primary will take it in'
    fi
  done
}

# The container's first process ignores a signal it has no trap for, and a shell heeds it only between commands.
trap 'exit 0' TERM
for_ever & wait "$!"

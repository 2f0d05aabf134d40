#!/bin/sh
# Bring the cluster to what the chart says, from any state, for ever. Runs beside every node; each looks after itself, and
# node 0 shares out the slots. plan.awk decides, this does it. Nothing here ever clears a slot, or the one copy of any.
# Beside a node that stands alone it only takes new passwords and certificates.
set -u
# shellcheck source=lib.sh
. /scripts/lib.sh

say() { # one line for each decision, not one for each look
  [ "$1" = "${said:-}" ] || echo "$(date -u +%H:%M:%SZ) $1"
  said=$1
}
count() { grep -c . /scripts/members; }
# Whether a move of slots may have been interrupted, by the end of the loop before this one or by a fault: it shows only
# beside the two nodes between which it went, and nothing moves until it is ended.
INTERRUPTED=yes
export MEMBERS PLACES INTERRUPTED
name() { echo "$nodes" | awk -v id="$1" '$1 == id { split($2, part, ","); sub(/\..*/, "", part[2]); print part[2] }'; }

# Know every other node: meet those that CLUSTER NODES doesn't show at their present address, and who answer.
meet() {
  echo "$MEMBERS" | grep -v "^$POD_NAME\." | while read -r host; do
    ip=$(address "$host")
    [ -n "$ip" ] || continue
    echo "$nodes" | grep -F " $ip:6379@" | grep -v -E 'handshake|noaddr|fail' | grep -q ' connected' && continue
    [ "$(admin -h "$ip" ping 2> /dev/null)" = PONG ] || continue
    admin CLUSTER MEET "$ip" 6379 > /dev/null && echo "${host%%.*}"
  done
}

# Forget who is gone for good and has no slots: a node that came back under the same name without its volume, as what it
# was before, and one that is no member any more.
forget() {
  echo "$nodes" | awk '
    BEGIN { n = split(ENVIRON["MEMBERS"], list); for (i = 1; i <= n; i++) member[list[i]] = 1 }
    { split($2, part, ","); host = part[2] }
    $3 ~ /fail/ && NF == 8 { gone[$1] = host }
    $3 !~ /fail|handshake|noaddr/ && ($8 == "connected" || $3 ~ /myself/) { alive[host] = 1 }
    END { for (id in gone) if (gone[id] in alive || !(gone[id] in member)) print id, gone[id] ? gone[id] : "nameless" }' |
    while read -r id host; do
      admin CLUSTER FORGET "$id" > /dev/null && echo "${host%%.*}"
    done
}

# Where the nodes run, as "ADDRESS ZONE/NODE" lines; each is asked once.
PLACES=''
locate() {
  for ip in $(echo "$nodes" | awk '{ sub(/:[0-9]+@.*/, "", $2); print $2 }'); do
    echo "$PLACES" | grep -q -F "$ip " && continue
    place=$(setting syslog-ident -h "$ip")
    [ -z "$place" ] || PLACES="$PLACES$ip $place
"
  done
}

plan() { echo "$nodes" | awk -v self="$POD_NAME" -v shards="$(cat /scripts/shards)" -f /scripts/plan.awk; }

# Slots are given out only when all nodes are there, know exactly each other, and hold no key. A cluster that has ever
# been used fails one of these, whatever else is broken.
unused() {
  for host in $MEMBERS; do
    ip=$(address "$host")
    if [ -z "$ip" ] || ! state=$(admin -h "$ip" CLUSTER INFO); then say "waiting for ${host%%.*}"; return 1; fi
    known=$(echo "$state" | field cluster_known_nodes)
    [ "$known" = "$(count)" ] || { say "waiting for ${host%%.*} to know all $(count) nodes; it knows $known"; return 1; }
    [ "$(admin -h "$ip" DBSIZE)" = 0 ] || {
      say "slots without an owner, but ${host%%.*} holds keys: see docs/runbooks/redis-lost-shard.md"
      return 1
    }
  done
}

# move ID...: share the slots among the masters while clients go on, and leave none on these.
move() {
  weights=''
  for id in "$@"; do weights="$weights --cluster-weight $id=0"; done
  say "moving slots${1:+, all away from$(for id in "$@"; do printf ' %s' "$(name "$id")"; done)}"
  # shellcheck disable=SC2086 # one option for each node
  cluster rebalance --cluster-use-empty-masters --cluster-threshold 1 $weights || INTERRUPTED=yes
}

# cluster ACTION OPTION...: redis-cli's own management of a cluster; what it says is shown when it fails. It waits long for a
# node that is gone, where a network policy lets no answer through: after a minute the next look sees how things are.
cluster() {
  action=$1
  shift
  output=$(limit=60 && admin --cluster "$action" "$POD_IP:6379" "$@" < /dev/null 2>&1)
  case $? in
    0) say "$action: done" && return ;;
    124) say "$action: not done within a minute" ;;
    *) say "$action failed: $(echo "$output" | tail -n 3 | tr '\n' ' ' | tail -c 300)" ;;
  esac
  return 1
}

take() {
  cat /run/redis/users.acl > /run/redis/before.acl
  write_access_list &&
    admin -e -x CONFIG SET masterauth < /secrets/admin-password &&
    apply_access_list &&
    cat /secrets/admin-password > /run/redis/admin-password || return 1
  [ "$TLS" = false ] ||
    admin -e CONFIG SET tls-cert-file /tls/tls.crt tls-key-file /tls/tls.key tls-ca-cert-file /tls/ca.crt
}

# Passwords and certificates that changed in their Secrets. The nodes hear of it within some 90 seconds, one by one, and
# clients when they restart: the passwords before work for ten minutes more.
refresh() {
  if [ -n "$(find /run/redis/before.acl -mmin +9 2> /dev/null)" ]; then
    rm /run/redis/before.acl
    write_access_list && say "took the passwords before out of the access list: $(apply_access_list)"
  fi
  now=$(secrets)
  [ "$now" != "$(cat /run/redis/secrets)" ] || return 0
  if problem=$(take 2>&1); then
    echo "$now" > /run/redis/secrets
    say 'took the passwords and certificates that the Secrets have now'
  else
    say "can't take what the Secrets have now: $problem"
    # Stopped between the list and the note of the password last time.
    case $problem in *WRONGPASS*) cat /secrets/admin-password > /run/redis/admin-password ;; esac
  fi
}

# A node whose volume is full refuses writes but is no less alive to the others: its replica takes over, if it can write.
stuck() {
  case $info in *aof_last_write_status:err*) ;; *) return 1 ;; esac
  say "can't write to its volume, which has $(df -h /data | awk 'NR == 2 { print $4 }') left: add space as docs/runbooks/grow-volumes.md says, or free some"
  [ "$CLUSTER" = false ] || replica=$(successor)
  [ -z "${replica:-}" ] || say "handing over to $(getent hosts "$replica" | awk '{ print $2 }'): $(admin -h "$replica" CLUSTER FAILOVER)"
}

# A replica whose master is told to be elsewhere in gossip goes on asking for it where it was, for ever.
astray() {
  case $info in *master_host:*) ;; *) return 1 ;; esac
  asked=$(echo "$info" | field master_host)
  read -r master there << EOF
$(echo "$nodes" | awk '{ at[$1] = $2 } $3 ~ /myself/ { id = $4 } END { sub(/:[0-9]+@.*/, "", at[id]); print id, at[id] }')
EOF
  [ -n "$there" ] && [ "$asked" != "$there" ] || return 1
  say "asked for its master at $asked, which is at $there now: $(admin CLUSTER REPLICATE "$master")"
  # Valkey takes no notice when it is the same master; what it reads at its start has the address right.
  [ "$(admin INFO replication | field master_host)" = "$there" ] || admin SHUTDOWN NOSAVE
}

# Whether the look before came to the same: news travel for a second or two.
settled() {
  intent=$1
  [ "$intent" = "$before" ]
}

intent=''
look() {
  before=$intent intent=''
  MEMBERS=$(cat /scripts/members)
  nodes=$(admin CLUSTER NODES 2>&1) || { say "waiting for redis-server to answer: $nodes"; return; }

  # While all are known and connected, and nobody else is, nobody can have moved or been lost.
  well=$(echo "$nodes" | awk '!/fail|handshake|noaddr|disconnected/ { well++ } END { print well + 0, NR }')
  if [ "$well" != "$(count) $(count)" ]; then
    met=$(meet | tr '\n' ' ')
    [ -z "$met" ] || { say "met $met"; return; }
    forgotten=$(forget | tr '\n' ' ')
    [ -z "$forgotten" ] || { say "forgot ${forgotten}as it was before"; return; }
  fi

  ! astray || return
  locate
  while read -r action arguments; do
    # shellcheck disable=SC2086 # several arguments
    case $action in
      say) say "$arguments" ;;
      assign) unused && assign $arguments ;;
      follow) settled "follow $arguments" && say "following $(name "$arguments"): $(admin CLUSTER REPLICATE "$arguments")" ;;
      restart) settled restart && say "beginning again as an empty node: $(admin CLUSTER RESET SOFT)" ;;
      # Not while slots move, which would end the move.
      takeover)
        settled "takeover $(echo "$nodes" | cut -d ' ' -f 1,9-)" &&
          say "taking over, for the masters to be apart: $(admin CLUSTER FAILOVER)"
        ;;
      move) move $arguments ;;
      fix) cluster fix && INTERRUPTED='' ;;
    esac
  done << EOF
$(plan)
EOF
}

assign() {
  ip=$(echo "$nodes" | awk -v id="$1" '$1 == id { sub(/:[0-9]+@.*/, "", $2); print $2 }')
  say "giving $(name "$1") the slots $2 to $3: $(admin -h "$ip" CLUSTER ADDSLOTSRANGE "$2" "$3")"
}

for_ever() {
  until [ -s /run/redis/secrets ]; do sleep 1; done
  while true; do
    refresh
    info=$(admin INFO 2> /dev/null)
    stuck || [ "$CLUSTER" = false ] || look
    sleep 3
  done
}

# The container's first process ignores a signal it has no trap for, and a shell heeds it only between commands.
trap 'exit 0' TERM
for_ever & wait "$!"

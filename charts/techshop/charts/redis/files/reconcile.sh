#!/bin/sh
# Bring the cluster to what the chart says, from any state, for ever. Runs beside every node; each looks after itself,
# and node 0 gives out the slots once. Nothing here ever takes a slot from a node or clears one.
set -u
# shellcheck source=lib.sh
. /scripts/lib.sh

say() { # one line for each decision, not one for each look
  [ "$1" = "${said:-}" ] || echo "$(date -u +%H:%M:%SZ) $1"
  said=$1
}
members() { cat /scripts/members; }
count() { grep -c . /scripts/members; }
ordinal=${POD_NAME##*-}

# Know every other node: meet those that CLUSTER NODES doesn't show at their present address, and who answer.
meet() {
  members | grep -v "^$POD_NAME\." | while read -r host; do
    ip=$(address "$host")
    [ -n "$ip" ] || continue
    echo "$nodes" | grep -F " $ip:6379@" | grep -v -E 'handshake|noaddr|fail' | grep -q ' connected' && continue
    [ "$(admin -h "$ip" ping 2> /dev/null)" = PONG ] || continue
    admin CLUSTER MEET "$ip" 6379 > /dev/null && echo "${host%%.*}"
  done
}

# A node that lost its volume comes back as another one under the same name: forget what it was.
forget() {
  echo "$nodes" | awk '
    { split($2, part, ","); host = part[2] }
    $3 ~ /fail/ && NF == 8 { gone[$1] = host }
    $3 !~ /fail|handshake|noaddr/ && ($8 == "connected" || $3 ~ /myself/) { alive[host] = 1 }
    END { for (id in gone) if (gone[id] in alive) print id, gone[id] }' |
    while read -r id host; do
      admin CLUSTER FORGET "$id" > /dev/null && echo "${host%%.*}"
    done
}

# Node 0 gives each master its share of the slots: only when all nodes are there, know exactly each other, and hold no
# key. A cluster that has ever been used fails one of these, whatever else is broken.
assign() {
  shards=$(cat /scripts/shards)
  for host in $(members); do
    ip=$(address "$host")
    if [ -z "$ip" ] || ! state=$(admin -h "$ip" CLUSTER INFO); then say "waiting for ${host%%.*}"; return; fi
    known=$(echo "$state" | field cluster_known_nodes)
    [ "$known" = "$(count)" ] || { say "waiting for ${host%%.*} to know all $(count) nodes; it knows $known"; return; }
    [ "$(admin -h "$ip" DBSIZE)" = 0 ] || { say "slots without an owner, but ${host%%.*} holds keys: see docs/runbooks"; return; }
  done
  shard=0
  for host in $(members | head -n "$shards"); do
    first=$((shard * 16384 / shards)) last=$(((shard + 1) * 16384 / shards - 1))
    owned=$(echo "$nodes" | awk -v host="$host" '$2 ~ "," host { for (i = 9; i <= NF; i++) print $i }')
    if [ -z "$owned" ]; then
      answer=$(admin -h "$(address "$host")" CLUSTER ADDSLOTSRANGE "$first" "$last")
      say "gave ${host%%.*} the slots $first to $last: $answer"
    fi
    shard=$((shard + 1))
  done
}

# A node without slots follows the master that has the fewest replicas. All such nodes see the same list, and each
# takes its own place in it, so that two don't choose the same master.
follow() {
  echo "$nodes" | awk -v self="$POD_NAME" '
    function nr(host) { sub(/\..*/, "", host); sub(/.*-/, "", host); return host + 0 }
    $3 ~ /fail|handshake|noaddr/ { next }
    { split($2, part, ","); host = part[2] }
    $3 ~ /master/ && NF > 8 { master[nr(host)] = $1 }
    $3 ~ /master/ && NF == 8 { empty[nr(host)] = host }
    $3 ~ /slave/ { replicas[$4]++ }
    END {
      for (e = 0; e < 1000; e++) {
        if (!(e in empty)) continue
        best = -1
        for (m = 0; m < 1000; m++)
          if (m in master && (best < 0 || replicas[master[m]] < replicas[master[best]])) best = m
        if (best < 0) exit
        replicas[master[best]]++
        if (empty[e] ~ "^" self "\\.") { print master[best], best; exit }
      }
    }'
}

look() {
  nodes=$(admin CLUSTER NODES 2>&1) || { say "waiting for redis-server to answer: $nodes"; return; }
  state=$(admin CLUSTER INFO)
  mine=$(echo "$nodes" | grep -F myself)

  # While all are known and connected nobody can have moved or been lost.
  if [ "$(echo "$nodes" | grep -c -v -E 'fail|handshake|noaddr|disconnected')" != "$(count)" ]; then
    met=$(meet | tr '\n' ' ')
    [ -z "$met" ] || { say "met $met"; return; }
    forgotten=$(forget | tr '\n' ' ')
    [ -z "$forgotten" ] || { say "forgot what ${forgotten}was before it lost its volume"; return; }
  fi

  if [ "$(echo "$state" | field cluster_slots_assigned)" != 16384 ]; then
    if [ "$ordinal" = 0 ]; then assign; else say 'waiting for node 0 to give out the slots'; fi
    return
  fi
  if echo "$mine" | grep -q master && [ "$(echo "$mine" | awk '{ print NF }')" = 8 ]; then
    follow | {
      read -r id number || return
      say "following the master ${POD_NAME%-*}-$number: $(admin CLUSTER REPLICATE "$id")"
    }
    return
  fi
  role=replica
  case $mine in *master*) role=master ;; esac
  say "$role in a cluster that is $(echo "$state" | field cluster_state)"
}

# As the container's first process it would ignore the signal, and each restart take the whole grace period.
trap 'exit 0' TERM
while true; do
  look
  sleep 3 & wait "$!"
done

#!/bin/sh
# Before a node stops, its slots go to one that stays. Its replica takes over in milliseconds; a master that leaves for
# good, together with its replica, serves on until node 0 has moved its slots, or the grace period ends.
set -u
# shellcheck source=lib.sh
. /scripts/lib.sh

missed=0
serves() { # also while it is too busy to say
  nodes=$(admin CLUSTER NODES) || { missed=$((missed + 1)); [ "$missed" -lt 5 ]; return; }
  echo "$nodes" | awk '$3 ~ /myself/ && $3 ~ /master/ && NF > 8 { found = 1 } END { exit !found }'
}
others() { grep -v "^$POD_NAME\." /scripts/members | while read -r host; do address "$host"; done; }
anybody_stays() {
  for other in $(others); do
    if stays "$other"; then return; fi
  done
  return 1
}

# A replica that begins anew writes its append-only file from the start. redis-server refuses to stop meanwhile, and nobody
# asks it a second time before the grace period ends.
begins() {
  case $(admin INFO) in
    *aof_rewrite_in_progress:1* | *aof_rewrite_scheduled:1* | *master_sync_in_progress:1*) return 0 ;;
    *master_link_status:down*) [ "$handed_over" = yes ] ;;
    *) return 1 ;;
  esac
}

[ "$CLUSTER" = true ] || exit 0
handed_over=no
# Seen by the others: who goes is handed nothing. Whoever looked just before has handed over by the end of the pause.
admin CONFIG SET replica-priority 0
sleep 2
while serves; do
  handed_over=yes
  replica=$(successor)
  if [ -n "$replica" ]; then
    admin -h "$replica" CLUSTER FAILOVER
  else
    anybody_stays || exit 0
  fi
  sleep 1
done
tries=0
while begins && [ "$tries" -lt 60 ]; do
  tries=$((tries + 1))
  sleep 1
done

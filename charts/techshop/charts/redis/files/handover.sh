#!/bin/sh
# Before a master stops, its replica takes over: the gap is milliseconds, not the node timeout.
set -u
# shellcheck source=lib.sh
. /scripts/lib.sh

[ "$CLUSTER" = true ] || exit 0
for _ in 1 2 3 4 5 6 7 8 9 10; do
  replication=$(admin INFO replication)
  [ "$(echo "$replication" | field role)" = master ] || exit 0
  replica=$(echo "$replication" | sed -n 's/^slave[0-9]*:ip=\([^,]*\),port=6379,state=online,.*/\1/p' | head -n 1)
  [ -n "$replica" ] || exit 0
  admin -h "$replica" CLUSTER FAILOVER
  sleep 1
done

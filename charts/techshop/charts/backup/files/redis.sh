#!/bin/bash
# Store a snapshot of each shard of Redis in the bucket, from a replica where there is one. What is there is a backup once its
# manifest is, which comes last.
# shellcheck source=lib.sh
. /scripts/lib.sh

# ask HOST ARGUMENT...: redis-cli as the user admin.
ask() {
  # shellcheck disable=SC2086 # several options, or none
  REDISCLI_AUTH=$(cat /secrets/admin-password) redis-cli ${tls:+--tls --cacert /tls/ca.crt} --no-auth-warning --user admin -h "$@"
}

reach_store
nodes=$(ask "$REDIS" CLUSTER NODES 2> /tmp/redis.log)
case $nodes in
  *myself*) echo "$nodes" | awk -f /scripts/shards.awk | sort -n > /tmp/shards ;;
  *'cluster support disabled'*) echo "0 $REDIS all" > /tmp/shards ;;
  *) fail "Redis can't be reached: ${nodes:-$(words /tmp/redis.log)}" ;;
esac
[ -s /tmp/shards ] || fail "no shard of Redis serves slots"

started=$(date -u +%Y%m%dT%H%M%SZ)
backup=redis/${started:0:4}/${started:4:2}/${started:6:2}/techshop-$started
: > /tmp/stored
while read -r first host slots; do
  say "fetching slots $slots from $host"
  rm -f /data/shard.rdb
  ask "$host" --rdb /data/shard.rdb > /tmp/redis.log 2>&1 < /dev/null &
  wait $! || fail "can't fetch the snapshot of $host: $(words /tmp/redis.log)"
  redis-check-rdb /data/shard.rdb > /tmp/check.log 2>&1 || fail "the snapshot of $host isn't sound: $(words /tmp/check.log)"
  unfinished=backup:$backup.slot-$first.rdb
  store copyto /data/shard.rdb "$unfinished" &
  wait $! || fail "can't store the snapshot of $host: $(words /tmp/store.log)"
  unfinished=''
  echo "    {\"object\": \"techshop-$started.slot-$first.rdb\", \"slots\": \"$slots\", \"bytes\": $(wc -c < /data/shard.rdb), \"sha256\": \"$(sha256sum < /data/shard.rdb | cut -d ' ' -f 1)\"}" >> /tmp/stored
done < /tmp/shards
store rcat "backup:$backup.manifest.json" << MANIFEST || fail "can't store the manifest: $(words /tmp/store.log)"
{
  "id": "$started",
  "finished": "$(date -u +%Y%m%dT%H%M%SZ)",
  "shards": [
$(sed '$!s/$/,/' /tmp/stored)
  ]
}
MANIFEST
say "stored $backup, $(wc -l < /tmp/shards) shards"
delete_old redis

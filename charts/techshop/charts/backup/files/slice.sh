#!/bin/bash
# Store what was written since the last slice of the oplog, as the next one. Where that ended is known from the bucket.
# shellcheck source=lib.sh
. /scripts/lib.sh
# shellcheck source=slices.sh
. /scripts/slices.sh
done_with() {
  finish "$*"
  exit 0
}

reach_store
last=$(cat /tmp/end 2> /dev/null)
from=$last
if [ -z "$last" ]; then
  list_slices store || fail "can't list the slices of the oplog: $(words /tmp/store.log)"
  last=$(sed 's/.*-\(.*\)\.bson\.gz$/\1/' /tmp/slices | sort -t . -k 1,1n -k 2,2n | tail -n 1)
  from=$last
  if ids manifest | grep -q .; then
    find_backup latest
    from="$last $(field oplogSeconds).$(field oplogOrdinal)"
  fi
fi
found=$(FROM=$from evaluate slice.js "mongodb://$MONGODB/?directConnection=true&$OPTIONS") || fail "MongoDB can't be read: ${found:-$(words /tmp/mongosh.log)}"
read -r member from to all <<< "$found"
if [ -n "$last" ] && [ "$from" != "$last" ]; then
  echo "slice: GAP: no member has the oplog from $(clock "$last") on any more; moments after that can't be restored until there is a new backup: make one now" >&2
fi
if [ "$from" = none ]; then
  echo "$to" > /tmp/end
  done_with "what is written after $(clock "$to") will be stored"
fi
[ "$from" != "$to" ] || done_with "nothing was written after $(clock "$to")"

login /secrets/backup-password
bound() { echo "{\"\$timestamp\":{\"t\":${1%.*},\"i\":${1#*.}}}"; }
slice=oplog/$(date -u -d "@${to%.*}" +%Y/%m/%d)/$from-$to.bson.gz
# This shell holds the pipe to rclone open until it knows that all was read: what broke off is never stored.
rm -f /tmp/slice
mkfifo /tmp/slice
unfinished=backup:$slice
kept /tmp/stored store rcat "backup:$slice" < /tmp/slice &
storing=$!
exec 3> /tmp/slice
# The entry that the last slice ended with is in this one again: so whoever joins them sees that none is missing.
# shellcheck disable=SC2086 # several options, or none
kept /tmp/dumped mongodump --config=/tmp/login.yaml --host="$member" --username=backup --authenticationDatabase=admin $tls \
  --readPreference=secondaryPreferred --db=local --collection=oplog.rs --out=- \
  --query="{\"ts\":{\"\$gte\":$(bound "$from"),\"\$lte\":$(bound "$to")}}" 2> /tmp/dump.log | kept /tmp/packed gzip >&3 &
wait $!
went /tmp/packed || fail "can't store a slice of the oplog: $(words /tmp/store.log)"
went /tmp/dumped || fail "mongodump failed: $(words /tmp/dump.log)"
exec 3>&-
wait "$storing"
went /tmp/stored || fail "can't store a slice of the oplog: $(words /tmp/store.log)"
unfinished=''
echo "$to" > /tmp/end
[ "$all" = yes ] || touch /tmp/more
done_with "stored $slice"

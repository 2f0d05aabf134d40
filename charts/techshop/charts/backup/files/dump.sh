#!/bin/bash
# Dump MongoDB into the bucket, as a stream. What is there is a backup once its manifest is, which comes last.
# shellcheck source=lib.sh
. /scripts/lib.sh
# shellcheck source=slices.sh
. /scripts/slices.sh

reach_store
found=$(evaluate choose.js "mongodb://$MONGODB/?directConnection=true&$OPTIONS") || fail "MongoDB can't be reached: $(words /tmp/mongosh.log)"
read -r member version seconds ordinal lag <<< "$found"
say "dumping from $member, $lag s behind the primary"

started=$(date -u +%Y%m%dT%H%M%SZ)
backup=mongodb/${started:0:4}/${started:4:2}/${started:6:2}/techshop-$started
unfinished=backup:$backup.archive.gz
login /secrets/backup-password
show /tmp/dump.log
# shellcheck disable=SC2086 # several options, or none
kept /tmp/dumped mongodump --config=/tmp/login.yaml --host="$member" --username=backup --authenticationDatabase=admin $tls \
  --readPreference=secondaryPreferred --oplog --gzip --archive 2> /tmp/dump.log |
  tee >(sha256sum > /tmp/sum) >(wc -c > /tmp/size) |
  kept /tmp/stored store rcat --s3-chunk-size 16M --s3-upload-concurrency 2 "$unfinished" &
wait $!
# In this order: where nobody stores any more, mongodump can't write either.
went /tmp/stored || fail "can't store the archive: $(words /tmp/store.log)"
went /tmp/dumped || fail "mongodump failed: $(words /tmp/dump.log)"
until [ -s /tmp/sum ] && [ -s /tmp/size ]; do sleep 0.1; done
stored=$(store lsf --format s "$unfinished")
[ "$stored" = "$(cat /tmp/size)" ] || fail "of $(cat /tmp/size) bytes the bucket holds ${stored:-none}"

# One value a line: what reads it has no other tools than a shell's.
store rcat "backup:$backup.manifest.json" << EOF || fail "can't store the manifest: $(words /tmp/store.log)"
{
  "id": "$started",
  "finished": "$(date -u +%Y%m%dT%H%M%SZ)",
  "bytes": $stored,
  "sha256": "$(cut -d ' ' -f 1 /tmp/sum)",
  "mongodb": "$version",
  "member": "$member",
  "oplogSeconds": $seconds,
  "oplogOrdinal": $ordinal,
  "collections": {
$(sed -n 's/\\/\\\\/g; s/"/\\"/g; s/.*done dumping \(.*\) (\([0-9]*\) documents\{0,1\})$/    "\1": \2,/p' /tmp/dump.log | sed '$s/,$//')
  }
}
EOF
unfinished=''
say "stored $backup, $stored bytes"

# Of the last days each moment can be restored: what was written since the backup before them stays, and no older slices.
since=$(ids manifest | awk -v day="$(date -u -d "${KEEP_MOMENTS:-7} days ago" +%Y%m%dT%H%M%SZ)" 'NR == 1 || $0 <= day { id = $0 } END { print id }')
find_backup "$since"
list_slices store || fail "the backup is stored, but the slices of the oplog can't be listed: $(words /tmp/store.log)"
awk -F - -v since="$(field oplogSeconds)" 'int($2) < since + 0' /tmp/slices > /tmp/gone
if [ -s /tmp/gone ]; then
  store delete --files-from-raw /tmp/gone backup: || fail "the backup is stored, but old slices of the oplog can't be deleted: $(words /tmp/store.log)"
  say "deleted $(wc -l < /tmp/gone) slices of the oplog"
fi
delete_old mongodb

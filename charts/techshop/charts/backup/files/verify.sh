#!/bin/bash
# Restore a backup into a mongod of its own, that nobody else sees, and look at every document.
# shellcheck source=lib.sh
. /scripts/lib.sh

# why: what mongod says of its end: its first error, or else its last line. After an error it may write pages.
why() {
  grep -m 1 '"s":"[EF]"' /tmp/mongod.log > /tmp/why || tail -n 1 /tmp/mongod.log > /tmp/why
  words /tmp/why
}

reach_store
find_backup "${BACKUP:-latest}"
began=$SECONDS
say "verifying $backup, $(field bytes) bytes"
mongod --dbpath /data --bind_ip 127.0.0.1 --wiredTigerCacheSizeGB 0.25 --setParameter diagnosticDataCollectionEnabled=false --nounixsocket > /tmp/mongod.log 2>&1 & server=$!
until (: < /dev/tcp/127.0.0.1/27017) 2> /dev/null; do
  kill -0 $server 2> /dev/null || fail "mongod doesn't start: $(why)"
  sleep 1
done
fetch mongorestore --gzip --archive --oplogReplay --stopOnError || {
  kill -0 $server 2> /dev/null || fail "mongod stopped while it was restored into: $(why)"
  fail "mongorestore failed: $(words /tmp/restore.log)"
}
# Users are restored too, without a line that tells how many. Names as they stand in the manifest: with what JSON escapes.
said=$(sed -n 's/\\/\\\\/g; s/"/\\"/g; s/.*finished restoring \(.*\) (\([0-9]*\) documents\{0,1\}, 0 failures)$/\1 \2/p' /tmp/restore.log | grep -v '^admin\.' | sort)
stored=$(sed -n 's/^    "\(.*\)": \([0-9]*\),\{0,1\}$/\1 \2/p' /tmp/manifest.json | grep -v '^admin\.' | sort)
[ "$said" = "$stored" ] || fail "other numbers of documents than the manifest's: $(diff <(echo "$stored") <(echo "$said") | grep '^[<>]' | tr '\n' ' ')"
report=$(evaluate validate.js 'mongodb://127.0.0.1/') || fail "what was restored isn't sound: ${report:-$(words /tmp/mongosh.log)}"
store rcat "backup:$backup.verified.json" << EOF || fail "can't store the result: $(words /tmp/store.log)"
{
  "id": "$(field id)",
  "verified": "$(date -u +%Y%m%dT%H%M%SZ)",
  "seconds": $((SECONDS - began))
}
EOF
finish "$backup can be restored: $report"

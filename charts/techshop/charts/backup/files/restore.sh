#!/bin/bash
# Restore a backup into the release's MongoDB. Data that is there stays there unless DROP is "yes". BACKUP is the id of one,
# "latest", or "list" to say which there are. AT is a moment: the newest backup from before it is restored, and what was written
# between.
# shellcheck source=lib.sh
. /scripts/lib.sh
# shellcheck source=moment.sh
. /scripts/moment.sh

reach_store
if [ "${BACKUP:-latest}" = list ]; then
  verified=$(ids verified)
  for id in $(ids manifest); do
    if echo "$verified" | grep -q -x "$id"; then echo "$id verified"; else echo "$id"; fi
  done
  finish "these are the backups in the bucket $S3_BUCKET"
  exit 0
fi
if [ -n "${AT:-}" ]; then find_moment; else find_backup "${BACKUP:-latest}"; fi
found=$(evaluate look.js "mongodb://$MONGODB/?directConnection=true&$OPTIONS") || fail "MongoDB can't be reached: $(words /tmp/mongosh.log)"
set=$(echo "$found" | head -n 1)
there=$(echo "$found" | tail -n +2)
say "to be restored: $backup, of $(date -u -d "@$(field oplogSeconds)" +%FT%TZ 2> /dev/null), $(field bytes) bytes"
if [ -n "$there" ]; then
  say "there are already:"
  echo "$there"
  [ "${DROP:-no}" = yes ] || fail "MongoDB holds data, which a restore would take away; set DROP to yes if that is wanted"
fi
# As the members trust each other: users are restored too, and whoever is one of them would be logged out half way.
tr -d '[:space:]' < /secrets/keyfile > /tmp/keyfile
login /tmp/keyfile
# shellcheck disable=SC2206 # several options, or none
restoring=(mongorestore --config=/tmp/login.yaml --host="$set" --username=__system --authenticationDatabase=local $tls
  --drop --archive --oplogReplay --stopOnError)
if [ -n "${AT:-}" ]; then
  restored=no
  ! fetch replay "${restoring[@]}" || restored=yes
  # What joins them says nothing when it is mongorestore that ended.
  went /tmp/spliced || [ ! -s /tmp/splice.log ] || fail "$(words /tmp/splice.log)"
  if [ $restored = no ] || ! went /tmp/spliced; then fail "mongorestore failed: $(words /tmp/restore.log)"; fi
  backup="$backup $(tail -n 1 /tmp/splice.log)"
else
  fetch "${restoring[@]}" --gzip || fail "mongorestore failed: $(words /tmp/restore.log)"
fi
evaluate passwords.js "mongodb://$MONGODB/?directConnection=true&$OPTIONS" ||
  fail "the data are restored, but the users have the passwords of then: $(words /tmp/mongosh.log)"
finish "restored $backup"

#!/bin/bash
# What the jobs share; they source it. Each ends with exit code 0 and what it did, or with another and, in its last line, why.
# A group of processes for each thing that is started, so that it can be stopped whole.
set -mu
umask 077
export PATH=/tools:$PATH SSL_CERT_FILE=/tools/ca-certificates.crt
# shellcheck source=store.sh
. /scripts/store.sh

job=$(basename "$0" .sh)
say() { echo "$(date -u +%H:%M:%SZ) $*"; }
stop() {
  groups=$(jobs -p)
  disown -a # or the shell would tell of each, after our last line
  for group in $groups; do kill -KILL -- "-$group" 2> /dev/null; done
}
fail() {
  trap - EXIT TERM
  stop
  # Not for long: where the store is away it stays, without a manifest.
  [ -z "${unfinished:-}" ] || store --low-level-retries 1 --retries 1 --contimeout 5s deletefile "$unfinished"
  echo "$job: $*" >&2
  exit 1
}
finish() {
  trap - EXIT
  stop
  say "$*"
}
trap 'fail "stopped before it was done: its pod was deleted or, as when its volume is full, evicted, or its time was over"' TERM
trap 'fail "ended before it was done"' EXIT

# show FILE: show what is written to a file from now on.
show() {
  : > "$1"
  tail -f "$1" &
}

# kept FILE COMMAND ARGUMENT...: run a command of a pipe and keep its exit code in a file.
kept() {
  local file=$1
  shift
  "$@"
  echo $? > "$file"
}
# went FILE: whether what was kept is a success.
went() { [ "$(cat "$1" 2> /dev/null)" = 0 ]; }

reach_store() {
  unlock_store || fail "the encryption password can't be used"
  store lsf --max-depth 1 backup: > /dev/null || fail "can't list the bucket $S3_BUCKET at $S3_ENDPOINT: $(words /tmp/store.log)"
}

# objects [FOLDER]: the paths of all that is in the bucket under mongodb/, or another.
objects() {
  store lsf --recursive --files-only "backup:${1:-mongodb}" 2> /dev/null | sed "s|^|${1:-mongodb}/|"
}

# delete_old FOLDER: delete the backups there that nobody wants to keep, and end.
delete_old() {
  objects "$1" | awk -v now="$(date -u +%Y%m%dT%H%M%SZ)" -v keepDays="$KEEP_DAYS" -v keepLast="$KEEP_LAST" \
    -v keepWeekly="$KEEP_WEEKLY" -v keepMonthly="$KEEP_MONTHLY" -f /scripts/retention.awk > /tmp/gone ||
    fail "the backup is stored, but what is old can't be found"
  while read -r path; do
    store deletefile "backup:$path" || fail "the backup is stored, but $path can't be deleted: $(words /tmp/store.log)"
    say "deleted $path"
  done < /tmp/gone
  finish 'old backups are deleted'
}

# ids KIND: the ids of those that have an object of this kind, the oldest first.
ids() { objects | sed -n "s|.*/techshop-\(.*\)\.$1\.json\$|\1|p" | sort; }

# find_backup ID: set `backup` to the path, without an ending, of the backup with this id or, for "latest", of the newest.
find_backup() {
  backup=$(objects | sed -n 's/\.manifest\.json$//p' | sort | grep "/techshop-${1#latest}" | tail -n 1)
  [ -n "$backup" ] || fail "there is no backup $1 in the bucket $S3_BUCKET; what there is: $(ids manifest | tail -n 5 | tr '\n' ' ')"
  store cat "backup:$backup.manifest.json" > /tmp/manifest.json || fail "can't read the manifest of $backup: $(words /tmp/store.log)"
}

# fetch COMMAND ARGUMENT...: give the archive of `backup` to a command, and check that it is what was stored.
fetch() {
  show /tmp/restore.log
  kept /tmp/read store cat "backup:$backup.archive.gz" | tee -p >(sha256sum > /tmp/sum) | kept /tmp/used "$@" 2> /tmp/restore.log &
  wait $!
  went /tmp/read || fail "can't read the archive of $backup: $(words /tmp/store.log)"
  until [ -s /tmp/sum ]; do sleep 0.1; done
  [ "$(cut -d ' ' -f 1 /tmp/sum)" = "$(field sha256)" ] || fail "the archive of $backup isn't what was stored: its SHA-256 isn't the manifest's"
  went /tmp/used
}

# evaluate FILE URI: run a program of ours in mongosh.
evaluate() { mongosh --quiet --norc "$2" --file "/scripts/$1" 2> /tmp/mongosh.log; }

export tls='' OPTIONS='serverSelectionTimeoutMS=20000'
if [ "${TLS:-false}" = true ]; then
  tls='--ssl --sslCAFile=/tls/ca.crt'
  OPTIONS="$OPTIONS&tls=true&tlsCAFile=/tls/ca.crt"
fi
# login FILE: what the tools read a password from, which is never an argument.
login() {
  tr -d '\n' < "$1" | sed "s/'/''/g; s/^/password: '/; s/\$/'/" > /tmp/login.yaml
}

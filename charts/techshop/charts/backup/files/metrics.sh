#!/bin/sh
# Tell Prometheus of the backups: look into the bucket each minute, and write what is there into a file that rclone serves.
# When the bucket can't be read what was known of it stays, and techshop_backup_store_up says so.
# shellcheck source=store.sh
. /scripts/store.sh
# shellcheck source=slices.sh
. /scripts/slices.sh

# metric NAME VALUE HELP: one gauge.
metric() { printf '# HELP %s %s\n# TYPE %s gauge\n%s %s\n' "$1" "$3" "$1" "$1" "$2"; }
# since_1970 TIME: seconds, of a time as it stands in names.
since_1970() {
  date -u -d "$(echo "$1" | sed 's/^\(....\)\(..\)\(..\)T\(..\)\(..\)\(..\)Z$/\1-\2-\3 \4:\5:\6/')" +%s
}
# Not for long: it looks again in a minute.
look() { store --low-level-retries 2 --retries 1 --contimeout 10s --timeout 20s "$@"; }
# newest KIND: the path of the newest object of this kind, by the time in its name.
newest() { grep "\.$1\.json\$" /tmp/objects | sort | tail -n 1; }

# Tell of the slices of the oplog, which are many: only the days since the newest backup are looked at.
tell_slices() {
  metric techshop_backup_oplog_interval_seconds "$INTERVAL" 'How often a slice of the oplog is to be stored.'
  now=$(date +%s)
  since=$now
  [ -z "$backup" ] || since=$(field oplogSeconds)
  day=$((now + 86400)) # the database's clock may be ahead
  : > /tmp/days
  while [ "$day" -gt $((since - 86400)) ]; do
    echo "/$(date -u -d "@$day" +%Y/%m/%d)/**" >> /tmp/days
    day=$((day - 86400))
  done
  list_slices look --include-from /tmp/days || return 1
  newest=$(sed 's/.*-\([0-9]*\)\..*/\1/' /tmp/slices | sort -n | tail -n 1)
  [ -z "$newest" ] || metric techshop_backup_oplog_last_timestamp_seconds "$newest" 'Up to when what was written is stored.'
  [ -n "$backup" ] || return 0
  case $(chain "$(field oplogSeconds).$(field oplogOrdinal)" | tail -n 1) in
    *gap) unbroken=0 ;;
    *) unbroken=1 ;;
  esac
  metric techshop_backup_oplog_unbroken "$unbroken" 'Whether no slice of the oplog is missing since the newest backup.'
}

# Read the bucket into /tmp/found.
read_store() {
  : > /tmp/store.log
  look lsf --recursive --files-only --include '/mongodb/**.json' backup: > /tmp/objects || return 1
  backup=$(newest manifest)
  verified=$(newest verified)
  [ -z "$backup" ] || look cat "backup:$backup" > /tmp/manifest.json || return 1
  [ -z "$verified" ] || look cat "backup:$verified" > /tmp/verified.json || return 1
  {
    metric techshop_backup_count "$(grep -c '\.manifest\.json$' /tmp/objects)" 'Backups in the bucket.'
    if [ -n "$backup" ]; then
      finished=$(since_1970 "$(field finished)")
      metric techshop_backup_last_success_timestamp_seconds "$finished" 'When the newest backup was finished.'
      metric techshop_backup_last_duration_seconds $((finished - $(since_1970 "$(field id)"))) 'How long the newest backup took.'
      metric techshop_backup_last_size_bytes "$(field bytes)" 'Size of the newest backup.'
    fi
    if [ -n "$verified" ]; then
      metric techshop_backup_last_verified_timestamp_seconds "$(since_1970 "$(field verified /tmp/verified.json)")" \
        'When a backup was last restored on trial, and found to be good.'
    fi
    [ -z "${INTERVAL:-}" ] || tell_slices || return 1
  } > /tmp/found
}

# Whoever reads meanwhile gets the file of before.
publish() {
  {
    metric techshop_backup_store_up "$1" 'Whether the bucket could be read.'
    metric techshop_backup_checked_timestamp_seconds "$(date +%s)" 'When the bucket was last looked at.'
    cat /tmp/known
  } > /served/next && mv /served/next /served/metrics
}

unlock_store || { echo "the encryption password can't be used" >&2; exit 1; }
: > /tmp/known
rclone --config '' serve http --addr :9090 --read-only --dir-cache-time 0s --log-level ERROR /served & server=$!
trap 'kill "$server"; exit 0' TERM
while kill -0 "$server" 2> /dev/null; do
  if read_store; then
    mv /tmp/found /tmp/known
    publish 1
  else
    publish 0
    echo "$(date -u +%H:%M:%SZ) can't read the bucket $S3_BUCKET at $S3_ENDPOINT: $(words /tmp/store.log)" >&2
  fi
  sleep 60 & wait $!
done
echo 'the web server has ended' >&2
exit 1

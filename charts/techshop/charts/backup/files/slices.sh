#!/bin/sh
# The slices of the oplog in the bucket, whose names say from which entry to which: oplog/2026/11/28/FROM-TO.bson.gz, where each
# is SECONDS.ORDINAL. Plain sh, for rclone's own image as well; those who source it have store.sh.

# list_slices STORE [OPTION...]: write their paths into /tmp/slices.
list_slices() {
  "$@" lsf --recursive --files-only backup:oplog > /tmp/listed
  case $? in
    0 | 3) sed -n 's|^.*\.bson\.gz$|oplog/&|p' /tmp/listed | sort > /tmp/slices ;; # 3: there are none
    *) return 1 ;;
  esac
}

# chain FROM [BEFORE]: which of them have what was written after the time FROM and before the second BEFORE, one a line, as PATH
# FROM TO; in the last line, after "up to", the time up to which they have all and, where others begin later, "gap".
chain() { awk -v from="$1" -v before="${2:-0}" -f /scripts/chain.awk /tmp/slices; }

# clock SECONDS[.ORDINAL]: a time as people write it.
clock() { date -u -d "@${1%.*}" +%FT%TZ; }

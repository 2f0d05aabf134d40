#!/bin/bash
# Restore to the moment AT: a backup from before, and what was written after it. restore.sh sources it.
# shellcheck source=slices.sh
. /scripts/slices.sh

# find_moment: set `backup` to that named by BACKUP or else the newest that ended before the moment, `limit` to its second, 0
# for all that was stored, and write the slices that go on from it into /tmp/chain. Fails when what is between isn't all there.
find_moment() {
  limit=0 # what has no moment goes on for ever
  if [ "$AT" != latest ]; then
    [[ ! $AT =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$ ]] || limit=$(date -u -d "$AT" +%s 2> /dev/null)
    [ "${limit:-0}" != 0 ] || fail "AT is $AT, which is no moment; write one like 2026-11-28T05:00:00Z, or latest"
  fi
  if [ "${BACKUP:-latest}" != latest ]; then
    find_backup "$BACKUP"
  else
    backup=''
    for id in $(ids manifest | sort -r); do
      find_backup "$id"
      # A backup is what was there when it ended, and nothing earlier.
      if [ "$limit" = 0 ] || [[ ! $(field finished) > ${AT//[-:]/} ]]; then break; fi
      backup=''
    done
    [ -n "$backup" ] || fail "no backup ended before $AT; what there is: $(ids manifest | tail -n 5 | tr '\n' ' ')"
  fi
  list_slices store || fail "can't list the slices of the oplog: $(words /tmp/store.log)"
  local reached gap
  chain "$(field oplogSeconds).$(field oplogOrdinal)" "$limit" > /tmp/found
  sed '$d' /tmp/found > /tmp/chain
  read -r _ _ reached gap <<< "$(tail -n 1 /tmp/found)"
  [ -z "$gap" ] || [ "$limit" != 0 ] || say "a part of the oplog is missing; what was written after $(clock "$reached") can't be restored"
  [ "$limit" = 0 ] || [ "${reached%.*}" -ge "$limit" ] ||
    fail "of what was written after $backup the bucket has all ${gap:+before a part that is missing, }up to $(clock "$reached"): that is the last moment that can be restored with it"
}

# replay COMMAND ARGUMENT...: give a command the archive that is the input, as splice.js makes it longer.
replay() {
  # What mongosh makes of a program of its own is too slow.
  local plain="new Function('require', require('fs').readFileSync('/scripts/splice.js', 'utf8'))(require)"
  cut -d ' ' -f 2- /tmp/chain > /tmp/ends
  gzip -dc | LIMIT=$limit SLICES=/tmp/ends kept /tmp/spliced mongosh --nodb --quiet --norc --eval "$plain" \
    5< <(unpacked < /tmp/chain) 3<&0 4>&1 < /dev/null > /dev/null 2> /tmp/splice.log | "$@"
}
unpacked() { while read -r path _; do store cat "backup:$path" < /dev/null | gzip -dc || break; done; }

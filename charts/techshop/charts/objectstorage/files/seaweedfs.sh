#!/bin/sh
# Run the four servers of SeaweedFS, make the buckets, and take keys that change. `weed server` would be all four in one, but
# once metadata were written it never stops. Only S3 listens outside the pod.
set -u
umask 077

say() { # one line for each decision, not one for each look
  [ "$1" = "${said:-}" ] || echo "$(date -u +%H:%M:%SZ) $1" >&2
  said=$1
}

# quoted KEY: what the Secret has there, as a JSON string.
quoted() {
  [ -s "/secrets/$1" ] || { say "the Secret's \"$1\" is empty: write a key there"; return 1; }
  [ "$(wc -l < "/secrets/$1")" = 0 ] || {
    say "the Secret's \"$1\" has a line break: make it with printf %s, not with echo"
    return 1
  }
  sed 's/[\\"]/\\&/g; s/.*/"&"/' "/secrets/$1"
}

# identity NAME: who may use the bucket of that name, and nothing else.
identity() {
  access=$(quoted "$1-access-key") && secret=$(quoted "$1-secret-key") || return 1
  bucket=$(cat "/scripts/$1-bucket")
  printf '{"name": "%s", "credentials": [{"accessKey": %s, "secretKey": %s}], ' "$1" "$access" "$secret"
  printf '"actions": ["Read:%s", "Write:%s", "List:%s", "Tagging:%s"]}' "$bucket" "$bucket" "$bucket" "$bucket"
}

keys() {
  cat /secrets/* | sha256sum
}

write_identities() {
  now=$(keys)
  if cmp -s /secrets/assets-access-key /secrets/backups-access-key; then
    say 'the Secret has the same access key twice, so one bucket would be open to both: give each its own'
    return 1
  fi
  assets=$(identity assets) && backups=$(identity backups) || return 1
  printf '{"identities": [%s, %s]}\n' "$assets" "$backups" > /run/seaweedfs/s3.json
  taken=$now
}

running=''
start() { # start SERVER OPTION...
  server=$1
  shift
  weed -logtostderr "$server" "$@" &
  running="$server:$! $running"
}

# The last one started goes first: what it holds back goes to those before it. On a full volume the filer would try for ever
# to keep its record of changes, which nobody reads.
stop() {
  for process in $running; do
    pid=${process#*:}
    kill "$pid"
    { sleep 20; kill -9 "$pid"; } 2> /dev/null &
    wait "$pid"
  done
}

# pause SECONDS: and heed signals meanwhile, which a shell does only between commands. Where one server ended the others can't
# stop well, nor need to: they end with the container, and their data are safe.
pause() {
  sleep "$1" &
  wait "$!"
  for process in $running; do
    kill -0 "${process#*:}" 2> /dev/null && continue
    wait "${process#*:}"
    say "weed ${process%:*} ended with $?"
    exit 1
  done
}

ask() { # ask COMMAND: of SeaweedFS' own shell, which needs no key
  echo "$1" | timeout 20 weed shell -master=127.0.0.1:9333 -filer=127.0.0.1:8888 2>&1 | tr '\n\t' '  '
}

make() { # make BUCKET: unless it is there
  while true; do
    there=$(ask s3.bucket.list)
    case $there in
      *error:*) say "waiting for the filer: $there" ;;
      *" $1 "*) break ;;
      *) say "making the bucket $1: $(ask "s3.bucket.create -name $1")" ;;
    esac
    pause 1
  done
  say "the bucket $1 is there"
}

trap 'say "stopping"; stop; exit 0' TERM

write_identities || exit 1
mkdir -p /data/master /data/volumes
# Their garbage collectors work harder before the container's limit is reached.
export GOMEMLIMIT=$((MEMORY_LIMIT_MIB / 4))MiB
# One file of a bucket is written at a time; by default there are seven from the start.
export WEED_MASTER_VOLUME_GROWTH_COPY_1=1
# Files are small beside the volume, since one is rewritten whole when deleted objects leave it; each bucket needs its own.
file=$((VOLUME_MIB / 32))
[ "$file" -ge 64 ] || file=64
[ "$file" -le 30000 ] || file=30000
here='-ip=127.0.0.1 -ip.bind=127.0.0.1'
everywhere=0.0.0.0
[ ! -s /proc/net/if_inet6 ] || everywhere=::

# shellcheck disable=SC2086 # two options
start master $here -port=9333 -mdir=/data/master -peers=none -telemetry=false -volumeSizeLimitMB="$file"
pause 1 # who doesn't find the master asks again only after seven seconds
# shellcheck disable=SC2086
start volume $here -port=8080 -dir=/data/volumes -master=127.0.0.1:9333 -max="$((VOLUME_MIB / file + 8))" \
  -minFreeSpace=64MiB -preStopSeconds=1 -concurrentUploadLimitMB=64 -concurrentDownloadLimitMB=64
limit=$GOMEMLIMIT
# It sets 220 MiB aside and hardly touches them: with less than that its collector never rests.
export GOMEMLIMIT=$((MEMORY_LIMIT_MIB / 4 + 256))MiB
# shellcheck disable=SC2086
start filer $here -port=8888 -master=127.0.0.1:9333 -defaultStoreDir=/data -concurrentUploadLimitMB=64
export GOMEMLIMIT="$limit"
make "$(cat /scripts/assets-bucket)"
make "$(cat /scripts/backups-bucket)"
start s3 -ip=127.0.0.1 -ip.bind="$everywhere" -port=8333 -filer=127.0.0.1:8888 -config=/run/seaweedfs/s3.json -iam=false \
  -port.iceberg=0 -port.lance=0 -concurrentUploadLimitMB=64 -readerCacheSizeMB=64 \
  -metricsIp="$everywhere" -metricsPort=9327
s3=$!

while true; do
  pause 5
  if [ "$(keys)" != "$taken" ] && write_identities; then
    kill -HUP "$s3" && say 'took the keys that the Secret has now'
  fi
done

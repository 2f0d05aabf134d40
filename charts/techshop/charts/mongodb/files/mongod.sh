#!/bin/bash
# Start mongod as a member of the replica set.
set -eu

if [[ ! -s /secrets/keyfile ]]; then
  echo 'mongod: the Secret has no "keyfile": add one of 6 to 1024 base64 characters, the same for all members' >&2
  exit 1
fi
# mongod refuses a keyfile that its group may read, as every file of a Secret volume can be: it gets a copy.
(umask 077 && cat /secrets/keyfile > /run/mongodb/keyfile)

# On a full volume mongod can neither recover nor stop, and says so in pages of its own.
free=$(df --output=avail --block-size=1M /data/db | tail -n 1)
if ((free < 32)); then
  echo "mongod: its volume has $free MiB left: add space as docs/runbooks/grow-volumes.md says, or free some" >&2
  exit 1
fi

# Half of what the limit leaves over the 256 MiB that mongod needs beside its cache, and never below 256 MiB.
cache=$(((MEMORY_LIMIT_MIB - 256) / 2))
((cache >= 256)) || cache=256

tls=()
if [[ $TLS == true ]]; then
  (umask 077 && cat /tls/tls.crt /tls/tls.key > /run/mongodb/tls.pem)
  tls=(--tlsMode requireTLS --tlsCertificateKeyFile /run/mongodb/tls.pem --tlsCAFile /tls/ca.crt
    --tlsAllowConnectionsWithoutCertificates)
fi

# Without it mongod listens on IPv4 only; with it, it doesn't start where the kernel has no IPv6.
ipv6=()
[[ ! -s /proc/net/if_inet6 ]] || ipv6=(--ipv6)

exec mongod --replSet rs0 --bind_ip_all "${ipv6[@]}" --port 27017 --dbpath /data/db --nounixsocket \
  --keyFile /run/mongodb/keyfile "${tls[@]}" \
  --wiredTigerCacheSizeGB "$((cache / 1024)).$(printf '%03d' $((cache % 1024 * 1000 / 1024)))" \
  --setParameter enableLocalhostAuthBypass=false \
  --setParameter shutdownTimeoutMillisForSignaledShutdown=5000

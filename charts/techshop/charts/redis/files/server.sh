#!/bin/sh
# Write redis-server's configuration and access list, correct what the node remembers of the others, and start it.
set -eu
# shellcheck source=lib.sh
. /scripts/lib.sh

secrets > /run/redis/secrets
write_access_list
cat /secrets/admin-password > /run/redis/admin-password
cat > /run/redis/redis.conf << EOF
$([ "$TLS" = false ] || echo tls-)port 6379
bind * -::*
protected-mode no
dir /data
aclfile /run/redis/users.acl
masteruser admin
masterauth "$(sed 's/[\\"]/\\&/g' /secrets/admin-password)"
appendonly yes
appendfsync everysec
save ""
# Sessions and carts carry a time to live; when memory runs short, those unused longest go first.
maxmemory $((MEMORY_LIMIT_MIB * 70 / 100))mb
maxmemory-policy volatile-lru
repl-diskless-sync-delay 0
# Not for syslog, which is off: the others read here where this node runs.
syslog-ident "$ZONE/$NODE_NAME"
EOF
if [ "$TLS" = true ]; then
  cat >> /run/redis/redis.conf << EOF
port 0
tls-cert-file /tls/tls.crt
tls-key-file /tls/tls.key
tls-ca-cert-file /tls/ca.crt
tls-auth-clients no
tls-replication yes
tls-cluster yes
EOF
fi

if [ "$CLUSTER" = true ]; then
  self=$(grep "^$POD_NAME\." /scripts/members)
  cat >> /run/redis/redis.conf << EOF
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout $NODE_TIMEOUT_MILLIS
cluster-require-full-coverage no
cluster-announce-hostname $self
cluster-announce-ip $POD_IP
cluster-preferred-endpoint-type hostname
EOF
  # After a restart of all pods every address in nodes.conf is wrong; the host names beside them still tell who is who.
  if [ -s /data/nodes.conf ]; then
    while read -r host; do
      ip=$(address "$host")
      [ -z "$ip" ] || sed -i "s/ [^ ]*:6379@16379,$host/ $ip:6379@16379,$host/" /data/nodes.conf
    done < /scripts/members
  fi
fi

exec redis-server /run/redis/redis.conf

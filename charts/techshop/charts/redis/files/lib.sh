#!/bin/sh
# What the Redis scripts share; they source it.

umask 077

tls=''
[ "$TLS" = false ] || tls='--tls --cacert /tls/ca.crt'

# admin ARGUMENT...: redis-cli as the user admin, by default on the node beside us; -h names another.
admin() {
  # shellcheck disable=SC2086 # several options, or none
  REDISCLI_AUTH=$(cat /run/redis/admin-password) timeout "${limit:-5}" redis-cli $tls --no-auth-warning --user admin "$@"
}

# What the Secrets say now; redis-server may still go by what they said before.
secrets() {
  cat /secrets/* /tls/* 2> /dev/null | sha256sum
}

# The SHA-256 of a user's password, as an access list wants it, and of those before, which clients may still use.
hashes() {
  [ -s "/secrets/$1-password" ] || { echo "redis: the Secret's \"$1-password\" is empty: write a password there" >&2; return 1; }
  [ "$(tail -c 1 "/secrets/$1-password" | wc -l)" = 0 ] || {
    echo "redis: the Secret's \"$1-password\" ends in a line break: make it with printf %s, not with echo" >&2
    return 1
  }
  {
    sha256sum < "/secrets/$1-password" | sed 's/^/#/; s/ .*//'
    [ ! -e /run/redis/before.acl ] || awk -v user="$1" '$2 == user { for (i = 4; $i ~ /^#/; i++) print $i }' /run/redis/before.acl
  } | sort -u | tr '\n' ' '
}

# Write the access list of what the Secret says now.
write_access_list() {
  admin=$(hashes admin) && app=$(hashes app) && exporter=$(hashes exporter) || return 1
  cat > /run/redis/users.acl << EOF
user default off
user admin on $admin~* &* +@all
user app on $app~shop:* &* +@all -@admin -@dangerous +info +cluster|info +cluster|myid +cluster|nodes +cluster|shards +cluster|slots
user exporter on $exporter~* &* -@all +@connection +client|list +cluster|info +cluster|nodes +cluster|slots +config|get +dbsize +info +latency|latest +latency|histogram +memory|usage +scan +slowlog|get +slowlog|len +type +strlen
EOF
}

# Make the node go by the access list that was written. ACL LOAD would also drop clients, and replicas of Valkey 8.0.1 crash
# at it.
apply_access_list() {
  answer=$(sed 's/^user \([^ ]*\)/ACL SETUSER \1 reset/' /run/redis/users.acl | admin 2>&1 | sort -u)
  echo "$answer"
  [ "$answer" = OK ]
}

# field NAME: the value of a "NAME:value" line on standard input, as INFO and CLUSTER INFO print them.
field() {
  tr -d '\r' | sed -n "s/^$1://p"
}

# stays HOST: whether a node isn't about to stop.
stays() {
  [ "$(limit=2 && setting replica-priority -h "$1")" = 100 ]
}

# The address of a replica of the node beside us that can take over: up to date, able to write, and there to stay.
successor() {
  admin INFO replication | sed -n 's/^slave[0-9]*:ip=\([^,]*\),port=6379,state=online,.*/\1/p' | while read -r replica; do
    stays "$replica" || continue
    [ "$(admin -h "$replica" INFO persistence 2> /dev/null | field aof_last_write_status)" = err ] || { echo "$replica"; break; }
  done
}

# address HOST: its IP address now, or nothing.
address() {
  getent hosts "$1" | awk '{ print $1; exit }'
}

# setting NAME ARGUMENT...: what CONFIG says, of the node that the arguments for redis-cli lead to.
setting() {
  name=$1
  shift
  admin "$@" CONFIG GET "$name" 2> /dev/null | tail -n 1
}

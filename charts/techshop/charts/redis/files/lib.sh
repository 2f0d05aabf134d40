#!/bin/sh
# What the Redis scripts share; they source it.

tls=''
[ "${TLS:-false}" = false ] || tls='--tls --cacert /tls/ca.crt'

# admin ARGUMENT...: redis-cli as the user admin, by default on the node beside us; -h names another.
admin() {
  # shellcheck disable=SC2086 # several options, or none
  REDISCLI_AUTH=$(cat /secrets/admin-password) timeout "${limit:-5}" redis-cli $tls --no-auth-warning --user admin "$@"
}

# field NAME: the value of a "NAME:value" line on standard input, as INFO and CLUSTER INFO print them.
field() {
  tr -d '\r' | sed -n "s/^$1://p"
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

#!/bin/sh
# What the Redis scripts share; they source it.

# admin COMMAND...: run a command on the node beside us (or, with -h, on another) as the user admin.
admin() {
  REDISCLI_AUTH=$(cat /secrets/admin-password) timeout 5 redis-cli --no-auth-warning --user admin "$@"
}

# field NAME: the value of a "NAME:value" line on standard input, as INFO and CLUSTER INFO print them.
field() {
  tr -d '\r' | sed -n "s/^$1://p"
}

# address HOST: its IP address now, or nothing.
address() {
  getent hosts "$1" | awk '{ print $1; exit }'
}

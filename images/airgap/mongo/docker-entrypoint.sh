#!/bin/bash
# Does what the official image's entrypoint does, as far as a deployment relies on it.
set -euo pipefail

# First argument `-f` or `--some-option`: they are mongod's.
if [[ "${1:-}" == -* ]]; then
    set -- mongod "$@"
fi

# Whoever starts as root ends as mongodb.
if [[ "${1:-}" == mongo* && "$(id -u)" == 0 ]]; then
    if [[ "$1" == mongod ]]; then
        find /data/configdb /data/db \! -user mongodb -exec chown mongodb:mongodb '{}' +
    fi
    chown --dereference mongodb /proc/self/fd/1 /proc/self/fd/2 2>/dev/null || true
    exec setpriv --reuid=mongodb --regid=mongodb --clear-groups -- "$0" "$@"
fi

has() { # has OPTION WORD...: whether --OPTION is among the words
    local option="--$1" word
    shift
    for word in "$@"; do
        [[ "$word" == "$option" || "$word" == "$option="* ]] && return 0
    done
    return 1
}

if [[ "${1:-}" == mongod ]]; then
    # Variables may name files instead, as Docker's secrets do.
    for name in MONGO_INITDB_ROOT_USERNAME MONGO_INITDB_ROOT_PASSWORD; do
        file="${name}_FILE"
        if [[ -n "${!file:-}" ]]; then
            export "$name=$(< "${!file}")"
        fi
    done
    if [[ -n "${MONGO_INITDB_ROOT_USERNAME:-}" && -n "${MONGO_INITDB_ROOT_PASSWORD:-}" ]]; then
        if ! has keyFile "$@"; then
            set -- "$@" --auth
        fi
        # A root user on an empty data folder: made by a mongod that only this container can reach.
        if [[ ! -e /data/db/WiredTiger ]]; then
            if compgen -G '/docker-entrypoint-initdb.d/*' > /dev/null; then
                echo 'This stand-in runs no scripts of /docker-entrypoint-initdb.d; the official image does.' >&2
                exit 1
            fi
            socket="$(mktemp -d)"
            mongod --dbpath /data/db --bind_ip 127.0.0.1 --port 27017 --unixSocketPrefix "$socket" \
                --fork --logpath "$socket/mongod.log" > /dev/null || { cat "$socket/mongod.log"; exit 1; }
            # shellcheck disable=SC2016 # the variables are JavaScript's
            mongosh --quiet --norc 'mongodb://127.0.0.1:27017/admin' --eval '
                db.createUser({
                    user: process.env.MONGO_INITDB_ROOT_USERNAME,
                    pwd: process.env.MONGO_INITDB_ROOT_PASSWORD,
                    roles: [{ role: "root", db: "admin" }],
                })'
            mongod --dbpath /data/db --shutdown > /dev/null
            rm -rf "$socket"
        fi
    fi
    unset "${!MONGO_INITDB_@}"
    # mongod alone listens on localhost; in a container that is never meant.
    if ! has bind_ip "$@" && ! has bind_ip_all "$@" && ! has config "$@" && [[ " $* " != *" -f "* ]]; then
        set -- "$@" --bind_ip_all
    fi
fi

exec "$@"

#!/bin/sh
# Does what the official image's entrypoint does.
set -e

# First argument `-f`, `--some-option` or `some.conf`: they are redis-server's.
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
    set -- redis-server "$@"
fi

if [ "$1" = redis-server ]; then
    if [ "$(id -u)" = 0 ]; then
        find . \! -user redis -exec chown redis '{}' +
        exec setpriv --reuid=redis --regid=redis --clear-groups -- "$0" "$@"
    fi
    # The official build has protected mode off unless it is asked for, since the container's network is the border.
    case "$*" in
        *--protected-mode* | *--version* | *--help*) ;;
        *) grep -qs -e '^[[:space:]]*protected-mode' -- "${2:-}" || set -- "$@" --protected-mode no ;;
    esac
fi

if [ "$(umask)" = 0022 ]; then
    umask 0077
fi

exec "$@"

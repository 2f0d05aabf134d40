#!/bin/bash
# Ask a mongod how it is, with one fixed wire message instead of a JavaScript shell: 15 ms of CPU, not a second.
#   hello.sh HOST          prints the reply: field names and values on lines of their own, "+" for true
#   hello.sh HOST alive    exits 0 when there is a reply
#   hello.sh HOST ready    exits 0 when the member is primary or secondary
set -eu

if [[ $TLS == true ]]; then
  # The name isn't checked: members are asked for themselves, and a certificate of our own authority is enough.
  coproc openssl s_client -quiet -verify_return_error -CAfile /tls/ca.crt -connect "$1:27017" 2> /dev/null
  trap 'kill "$COPROC_PID"' EXIT
  exec 3>&"${COPROC[1]}" 4<&"${COPROC[0]}"
else
  exec 3<>"/dev/tcp/$1/27017" 4<&3
fi
# OP_MSG holding {hello: 1, $db: "admin"}; "hello" needs no login.
# shellcheck disable=SC2016 # $db is no variable of the shell
printf '\x34\0\0\0\1\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x1f\0\0\0\x10hello\0\1\0\0\0\x02$db\0\6\0\0\0admin\0\0' >&3
read -r length < <(head -c 4 <&4 | od -An -tu4)
reply=$(head -c "$((length - 4))" <&4 | tr '\000\001' '\n+' | tr -cd '[:print:]\n')

case ${2:-print} in
  alive) [[ -n $reply ]] ;;
  ready) [[ $reply == *$'isWritablePrimary\n+'* || $reply == *$'secondary\n+'* ]] ;;
  print) printf '%s\n' "$reply" ;;
esac

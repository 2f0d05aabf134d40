#!/bin/sh
# The bucket, for every script that uses it; they source this. Plain sh: rclone's own image has no other shell.
export HOME=/tmp

# store COMMAND ARGUMENT...: rclone, whose settings are in the environment; "backup:" is the bucket, encrypted or not.
store() {
  rclone --config '' ${trusted:+"$trusted"} --log-file /tmp/store.log --s3-no-check-bucket --low-level-retries 5 --retries 2 --contimeout 20s --timeout 60s "$@"
}
trusted=''
[ ! -s "$S3_CA_FILE" ] || trusted=--ca-cert=$S3_CA_FILE
# What rclone, or another, said last.
words() { grep -v '^$' "$1" | tail -n 1 | sed 's/^[0-9TZ:/. +-]*//; s/^[[:space:]]*//'; }

# Take the password of the encryption, where there is one.
unlock_store() {
  [ -e /encryption/password ] || return 0
  RCLONE_CONFIG_BACKUP_PASSWORD=$(rclone --config '' obscure - < /encryption/password) || return 1
  export RCLONE_CONFIG_BACKUP_PASSWORD
}

# field NAME [FILE]: a value of the manifest, or of another such file, which stands on a line of its own.
field() { sed -n 's/^ *"'"$1"'": "\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\1/p' "${2:-/tmp/manifest.json}" | head -n 1; }

#!/bin/sh
# Run the command `techshop` in a virtual environment that is made from requirements.lock, and made anew when that changes.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/.venv
lock=$root/requirements.lock

python_is_new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if python_is_new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "Python 3.11 or newer is needed, and there is none on PATH." >&2
  echo "Install it (Debian 12, Ubuntu 24.04: apt install python3 python3-venv), or set PYTHON to its path." >&2
  return 1
}

make_venv() {
  python=$(find_python)
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "This Python can't make virtual environments. Debian and Ubuntu: apt install python3-venv" >&2
    return 1
  fi
  echo "Making the virtual environment .venv from requirements.lock (once) ..." >&2
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$lock"
  echo "$root/scripts" >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/techshop.pth"
  printf '#!/bin/sh\nexec "%s/bin/python" -m techshop.cli "$@"\n' "$venv" >"$venv/bin/techshop"
  chmod +x "$venv/bin/techshop"
  cp "$lock" "$venv/requirements.lock"
}

if ! cmp -s "$lock" "$venv/requirements.lock"; then
  exec 9>"$root/.venv.lock"
  flock 9 2>/dev/null || true # where there is no flock, two first runs at once are not safe
  cmp -s "$lock" "$venv/requirements.lock" || make_venv
  exec 9>&-
fi
exec "$venv/bin/techshop" "$@"

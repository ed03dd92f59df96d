#!/usr/bin/env bash
# Make .venv with all that training needs. Safe to run again: it keeps what exists.
#   bash tools/setup_env.sh test,convert,onnx    adds what the tests, weight conversion and ONNX need
#   PYTHON=python3.12 bash tools/setup_env.sh    uses another Python than python3.11 or python3
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
if [ -z "$python" ]; then
  echo "error: no python3 found; install Python 3.9 or later, preferably 3.11" >&2
  exit 1
fi

# Two things that a bare Debian or Ubuntu lacks: venv is a package of its own there, and Paddle
# is linked to the OpenMP library of gcc.
missing=()
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
  missing+=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
"$python" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || missing+=(libgomp1)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing the system packages ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
  else
    echo "error: system packages are missing. Install them and run this again:" >&2
    echo "  sudo apt-get update && sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi

[ -x .venv/bin/python ] || "$python" -m venv .venv
version=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# The versions that the tests passed with, if recorded for this Python.
constraints=()
[ ! -f "requirements/tested-py$version.txt" ] || constraints=(-c "requirements/tested-py$version.txt")
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }
pip install -q "${constraints[@]}" -e ".${1:+[$1]}"
# Without its pins, which have no wheels for current Pythons; the line above installs its requirements.
pip install -q --no-deps paddleclas==2.4.2

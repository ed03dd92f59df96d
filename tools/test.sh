#!/usr/bin/env bash
# Set up .venv and run the tests. Arguments go to pytest: `bash tools/test.sh -m slow` runs the
# tests that take minutes, which are left out otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup_env.sh test,convert,onnx
.venv/bin/ruff check .
.venv/bin/ruff format --check .
exec .venv/bin/python -m pytest "$@"

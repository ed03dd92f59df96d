#!/usr/bin/env bash
# Set up .venv and run the tests: under 8 minutes on two idle cores, after the downloads.
# Arguments go to pytest:
#   bash tools/test.sh -m slow                tests that take long, which are left out otherwise
#   bash tools/test.sh -m 'slow or not slow'  all tests
#   bash tools/test.sh -n 0 tests/models      some of them, in one process
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup_env.sh test,convert,onnx
.venv/bin/ruff check .
.venv/bin/ruff format --check .
# One process per core, at most four, of up to 5 GB each. A process that has no tests left takes
# half of another's.
exec .venv/bin/python -m pytest -n logical --maxprocesses 4 --dist worksteal "$@"

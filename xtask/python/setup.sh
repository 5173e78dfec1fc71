#!/usr/bin/env bash
# Makes target/python, the Python environment of the tests, as requirements.txt says. Does nothing
# when it is there already; an environment that was left half made is made anew.
set -euo pipefail
cd "$(dirname "$0")/../.."

wanted=xtask/python/requirements.txt
made=target/python/made-from.txt
if cmp -s "$wanted" "$made"; then
    exit 0
fi
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    echo "setup: python3 cannot make environments; install the system packages python3 and python3-venv" >&2
    exit 1
fi
rm -rf target/python
python3 -m venv target/python
target/python/bin/pip install --quiet --disable-pip-version-check --no-deps -r "$wanted"
target/python/bin/pip check --disable-pip-version-check
cp "$wanted" "$made"

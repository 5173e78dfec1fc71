#!/usr/bin/env bash
# Installs what the tests need: missing Debian packages, target/python, the Python environment of requirements.txt, and
# target/node, the packages of crates/wattpost/tests/node. Does nothing if everything is installed; what is incomplete is
# created again.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
need cc gcc
need kill procps
need chattr e2fsprogs
need mount mount
need setpriv util-linux
need node nodejs
need npm npm
need python3 python3
need chromium chromium
# Only promtool is used; Debian would start the server at every boot, as below.
need promtool prometheus
# Of these the programs are needed and not the servers that Debian would start.
[ -x /usr/sbin/haproxy ] || missing+=(haproxy)
[ -x /usr/sbin/nginx ] || missing+=(nginx-light)
need systemd-analyze systemd
# The Debian package is made from a binary by these two.
need dpkg-shlibdeps dpkg-dev
need strip binutils
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
# The tests start their own servers on free ports, so only the programs are needed. Without RUNLEVEL=1
# Debian would also start a server on the usual port, now and at every boot.
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing+=(rabbitmq-server)
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
if [ "${#missing[@]}" -gt 0 ]; then
    echo "setup: installing ${missing[*]}" >&2
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo -n)
    fi
    quiet=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1)
    if ! { "${as_root[@]}" "${quiet[@]}" apt-get update -qq &&
        "${as_root[@]}" "${quiet[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; }; then
        echo "setup: apt could not install ${missing[*]}; install them yourself and run this again" >&2
        exit 1
    fi
fi

wanted=xtask/python/requirements.txt
made=target/python/made-from.txt
if ! cmp -s "$wanted" "$made"; then
    rm -rf target/python
    python3 -m venv target/python
    target/python/bin/pip install --quiet --disable-pip-version-check --no-deps -r "$wanted"
    target/python/bin/pip check --disable-pip-version-check
    cp "$wanted" "$made"
fi

wanted=crates/wattpost/tests/node
made=target/node/made-from.json
if ! cmp -s "$wanted/package-lock.json" "$made"; then
    rm -rf target/node
    mkdir -p target/node
    cp "$wanted/package.json" "$wanted/package-lock.json" target/node/
    (cd target/node && npm ci --ignore-scripts --no-audit --no-fund --silent)
    cp "$wanted/package-lock.json" "$made"
fi

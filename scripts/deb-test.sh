#!/usr/bin/env bash
# Installs, upgrades, removes and purges the Debian package in a Debian system of its own: debootstrap makes it, and
# systemd runs in it as process 1, in a container of systemd-nspawn without a network. Needs root.
#
#     scripts/deb-test.sh [BINARY]     default: target/release/wattpost
#
# While simulated chargers send, the package is upgraded to a newer version, to one whose program ends at once, and back:
# no connection may be closed and no message lost.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-target/release/wattpost}")
base=$PWD/target/deb-test
root=$base/root

if [ "$(id -u)" -ne 0 ]; then
    echo "deb-test: run it as root: debootstrap and systemd-nspawn need it" >&2
    exit 1
fi
missing=()
for pair in debootstrap:debootstrap systemd-nspawn:systemd-container lintian:lintian dpkg-shlibdeps:dpkg-dev; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
if [ "${#missing[@]}" -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

step() { echo "deb-test: $*" >&2; }
fail() {
    echo "deb-test: FAILED: $*" >&2
    inside journalctl --unit wattpost --no-pager >"$base/journal.log" 2>&1 || true
    echo "deb-test: the log is in $base/journal.log" >&2
    exit 1
}

# ── The packages ──────────────────────────────────────────────────────────────────────────────────
rm -rf "$base/out" && mkdir -p "$base/out"
export DEB_COMPRESSION="-Zgzip -z1"
version=$("$binary" --version | awk '{print $2}')
step "building packages"
first=$(DEB_VERSION="$version-1" scripts/deb.sh "$binary" "$base/out")
sum=$(sha256sum "$first")
DEB_VERSION="$version-1" scripts/deb.sh "$binary" "$base/out" >/dev/null
[ "$(sha256sum "$first")" = "$sum" ] || { echo "deb-test: FAILED: two packages of one commit differ" >&2; exit 1; }
second=$(DEB_VERSION="$version-2" scripts/deb.sh "$binary" "$base/out")
# The third has a program that ends at once.
mkdir "$base/out/broken"
dpkg-deb --raw-extract "$second" "$base/out/broken/root"
printf '#!/bin/sh\necho "this program is broken" >&2\nexit 1\n' >"$base/out/broken/root/usr/bin/wattpost"
sed -i "s/^Version: .*/Version: $version-3/" "$base/out/broken/root/DEBIAN/control"
third=$base/out/wattpost_$version-3_$(dpkg --print-architecture).deb
dpkg-deb --root-owner-group $DEB_COMPRESSION --build "$base/out/broken/root" "$third" >/dev/null

if [ -z "${SKIP_LINTIAN:-}" ]; then
    step "lintian"
    lintian --fail-on error,warning --allow-root "$second"
fi

# ── The system ────────────────────────────────────────────────────────────────────────────────────
if [ ! -e "$base/bootstrapped" ]; then
    step "debootstrap, once"
    rm -rf "$root"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,adduser,ca-certificates,procps \
        "${DEB_SUITE:-bookworm}" "$root" >"$base/debootstrap.log"
    touch "$base/bootstrapped"
fi

container=
cleanup() {
    if [ -n "$container" ]; then
        kill -TERM "$container" 2>/dev/null || true
        wait "$container" 2>/dev/null || true
    fi
}
trap cleanup EXIT

# A scratch copy over the system: what a run changes is gone at its end.
systemd-nspawn --directory "$root" --volatile=overlay --machine "wattpost-$$" --register=no --keep-unit --private-network \
    --bind-ro="$base/out:/out" --boot --console=pipe >"$base/boot.log" 2>&1 </dev/null &
container=$!

inside() {
    local leader
    leader=$(pgrep -P "$container" | head -1)
    nsenter --target "$leader" --mount --uts --ipc --pid --cgroup --net --root --wd -- "$@"
}
waits_for() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}
is_booted() { inside systemctl is-system-running | grep -qE 'running|degraded'; }
waits_for 60 is_booted || { cat "$base/boot.log" >&2; fail "the container does not boot"; }

main_pid() { inside systemctl show --property MainPID --value wattpost; }
health() { inside wattpost status --config /etc/wattpost/wattpost.toml; }
install_deb() { inside dpkg --install "/out/$(basename "$1")"; }
log_has() { inside journalctl --unit wattpost --no-pager | grep -q "$1"; }

# ── Install ───────────────────────────────────────────────────────────────────────────────────────
step "install"
install_deb "$first"
waits_for 30 health || fail "it does not work after the installation"
inside sh -c 'systemd-analyze verify /lib/systemd/system/wattpost*.service' || fail "a unit has a fault"
[ "$(inside systemctl is-enabled wattpost)" = enabled ] || fail "wattpost.service is not enabled"
for unit in gateway consumer api; do
    state=$(inside systemctl is-enabled "wattpost-$unit" || true)
    [ "$state" = disabled ] || fail "wattpost-$unit.service is $state and not disabled"
done
modes=$(inside stat -c '%U:%G %a %n' /var/lib/wattpost /etc/wattpost/wattpost.toml)
[ "$modes" = "wattpost:wattpost 700 /var/lib/wattpost
root:wattpost 640 /etc/wattpost/wattpost.toml" ] || fail "owners and modes: $modes"

# ── Upgrades while chargers send ──────────────────────────────────────────────────────────────────
step "upgrade under load"
inside sed -i 's/unknown_charger = "pending"/unknown_charger = "accept"/' /etc/wattpost/wattpost.toml
old=$(main_pid)
is_replaced() { [ "$(main_pid)" != "$old" ]; }
inside systemctl reload wattpost
waits_for 60 is_replaced || fail "no take-over at a reload"
inside sh -c 'wattpost simulate --url ws://127.0.0.1:9000/ocpp --chargers 20 --scenario meter-flood --rate 5 \
    --ledger /tmp/run.ndjson --quiet >/tmp/simulate.log 2>&1; echo $? >/tmp/simulate.rc' &
waits_for 30 log_has SIM-00020 || fail "the chargers do not connect"

old=$(main_pid)
install_deb "$second"
[ "$(main_pid)" != "$old" ] || fail "no take-over at the upgrade"
inside grep -q 'unknown_charger = "accept"' /etc/wattpost/wattpost.toml || fail "the settings were replaced"

old=$(main_pid)
step "upgrade to a program that ends at once"
install_deb "$third" 2>&1 | tee "$base/third.log"
grep -q 'The earlier one goes on' "$base/third.log" || fail "the administrator is not told"
[ "$(main_pid)" = "$old" ] || fail "the running process did not go on"

step "and back"
install_deb "$first"
[ "$(main_pid)" != "$old" ] || fail "no take-over after the broken program"
waits_for 30 health || fail "it does not work"
inside pkill -TERM -f '^wattpost simulate'
waits_for 60 inside test -e /tmp/simulate.rc || fail "the chargers do not end"
# Each of the 20 chargers has connected once, so none of the four take-overs has closed a connection.
connected=$(inside journalctl --unit wattpost --no-pager | grep -c 'charger connected.*SIM-')
[ "$connected" = 20 ] || fail "20 chargers connected $connected times"
audit() { inside runuser -u wattpost -- wattpost audit --config /etc/wattpost/wattpost.toml --ledger /tmp/run.ndjson; }
waits_for 30 audit || { audit >&2; fail "a message is lost"; }

# ── systemd still supervises the process that took over ───────────────────────────────────────────
step "kill -9"
old=$(main_pid)
inside kill -9 "$old"
is_restarted() { local pid; pid=$(main_pid); [ "$pid" != 0 ] && [ "$pid" != "$old" ] && health; }
waits_for 30 is_restarted || fail "systemd does not restart the process that took over"

step "the roles start in their sandboxes, without RabbitMQ and PostgreSQL"
inside systemctl disable --now wattpost
inside sh -c 'printf "[broker]\nurl = \"amqp://127.0.0.1:1/%%2f\"\n[database]\nurl = \"postgres://127.0.0.1:1/none\"\n" >>/etc/wattpost/wattpost.toml'
for unit in gateway consumer api; do
    inside systemctl enable --now "wattpost-$unit" || fail "wattpost-$unit does not start: $(inside journalctl -u "wattpost-$unit" -n 20)"
    inside systemctl is-active --quiet "wattpost-$unit" || fail "wattpost-$unit does not run"
done

step "upgrade of the roles while PostgreSQL is unavailable"
pid_of() { inside systemctl show --property MainPID --value "wattpost-$1"; }
gateway=$(pid_of gateway) consumer=$(pid_of consumer)
install_deb "$second" 2>&1 | tee "$base/roles.log"
grep -q 'wattpost-consumer.service still runs the earlier version, because `wattpost migrate` failed' "$base/roles.log" ||
    fail "the administrator is not told that the tables are those of the earlier version"
[ "$(pid_of consumer)" = "$consumer" ] || fail "the consumer was restarted, and its tables are not migrated"
[ "$(pid_of gateway)" != "$gateway" ] || fail "no take-over of the gateway without PostgreSQL"

if inside journalctl --unit 'wattpost*' --no-pager | grep -iE 'not permitted|read-only file system' >&2; then
    fail "the sandbox refuses something"
fi

# ── Remove and purge ──────────────────────────────────────────────────────────────────────────────
step "remove"
inside dpkg --remove wattpost
for unit in wattpost wattpost-gateway wattpost-consumer wattpost-api; do
    inside systemctl is-active --quiet "$unit" && fail "$unit runs after the removal"
done
inside test ! -e /usr/bin/wattpost || fail "the program is left"
inside test -e /etc/wattpost/wattpost.toml || fail "the settings are removed"
inside test -e /var/lib/wattpost/wattpost.db || fail "the data is removed"

step "install again"
install_deb "$second"
for unit in wattpost wattpost-gateway wattpost-consumer wattpost-api; do
    expected=active
    [ "$unit" = wattpost ] && expected=inactive
    state=$(inside systemctl is-active "$unit" || true)
    [ "$state" = "$expected" ] || fail "$unit is $state after it was installed again, not $expected"
done
inside dpkg --remove wattpost

step "purge"
inside dpkg --purge wattpost 2>&1 | tee "$base/purge.log"
grep -q 'is kept' "$base/purge.log" || fail "nobody is told about the data"
inside test ! -e /etc/wattpost || fail "the settings are left"
inside test -e /var/lib/wattpost/wattpost.db || fail "the data is removed"
[ -z "$(inside find /etc/systemd /var/lib/systemd -name '*wattpost*')" ] || fail "links of units are left"

step "passed"

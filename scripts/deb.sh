#!/usr/bin/env bash
# Makes the Debian package from a built binary, with Debian's own tools: dpkg-dev and binutils.
#
#     scripts/deb.sh [BINARY [DIRECTORY]]     default: target/release/wattpost target/debian
#
# DEB_VERSION is the version of the package (default: the binary's, with the revision 1), DEB_MAINTAINER who answers for it,
# DEB_COMPRESSION arguments of dpkg-deb (default: -Zxz). Prints the path of the package.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-target/release/wattpost}")
out=$(realpath -m "${2:-target/debian}")

for tool in dpkg-deb dpkg-shlibdeps strip; do
    command -v "$tool" >/dev/null || { echo "deb: $tool is missing: apt-get install dpkg-dev binutils" >&2; exit 1; }
done
[ -x "$binary" ] || { echo "deb: $binary is missing: run \`make build\`" >&2; exit 1; }

version=${DEB_VERSION:-$("$binary" --version | awk '{print $2}')-1}
maintainer=${DEB_MAINTAINER:-Wattpost maintainers <maintainers@wattpost.invalid>}
architecture=$(dpkg --print-architecture)
# The same commit makes the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y "$binary")}
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The modes below do not depend on the umask of who runs this.
umask 022
root=$work/root
doc=$root/usr/share/doc/wattpost
install -d "$root/DEBIAN" "$doc/examples" "$root/etc/wattpost"

install -D -m 0755 "$binary" "$root/usr/bin/wattpost"
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root/usr/bin/wattpost"
install -D -m 0644 -t "$root/lib/systemd/system" packaging/systemd/*.service
install -m 0640 packaging/debian/wattpost.toml "$root/etc/wattpost/wattpost.toml"
install -D -m 0644 packaging/debian/lintian-overrides "$root/usr/share/lintian/overrides/wattpost"

install -m 0644 packaging/debian/copyright wattpost.example.toml docs/*.md "$doc"
for example in packaging/haproxy/* packaging/nginx/* packaging/prometheus/* packaging/grafana/*; do
    [ -f "$example" ] && install -D -m 0644 "$example" "$doc/examples/${example#packaging/}"
done
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
{
    echo "wattpost ($version) unstable; urgency=medium"
    echo
    echo "  * The changes are in changelog.gz."
    echo
    echo " -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$doc/changelog.Debian.gz"
# The manual page is the help of the program.
{
    echo ".TH WATTPOST 1 \"$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%d)\" \"wattpost $version\""
    echo ".SH NAME"
    echo 'wattpost \- OCPP central system that never loses a message of a charger'
    echo ".SH DESCRIPTION"
    echo ".nf"
    "$binary" --help | sed -e 's/\\/\\e/g' -e "s/^[.']/\\\\\&&/" -e 's/-/\\-/g'
    echo ".fi"
    echo ".SH SEE ALSO"
    echo '.BR "wattpost COMMAND \-\-help" ,'
    echo "the directory /usr/share/doc/wattpost"
} | gzip -9n >"$work/wattpost.1.gz"
install -D -m 0644 "$work/wattpost.1.gz" "$root/usr/share/man/man1/wattpost.1.gz"
cargo tree --locked --offline -p wattpost -e normal --prefix none --format '{p} {l} {r}' |
    sed 's/ ([^)]*)//' | sort -u | gzip -9n >"$doc/crates.txt.gz"

install -m 0755 packaging/debian/{postinst,prerm,postrm} "$root/DEBIAN"
echo /etc/wattpost/wattpost.toml >"$root/DEBIAN/conffiles"
mkdir "$work/debian"
touch "$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O "$root/usr/bin/wattpost" 2>/dev/null | sed 's/^shlibs:Depends=//')
cat >"$root/DEBIAN/control" <<CONTROL
Package: wattpost
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -sk --apparent-size --exclude DEBIAN "$root" | cut -f1)
Depends: $depends, adduser, init-system-helpers (>= 1.52), procps
Recommends: ca-certificates
Suggests: haproxy | nginx, postgresql, rabbitmq-server
Section: net
Priority: optional
Description: OCPP central system that never loses a charger's message
 A central system (CSMS) for electric-vehicle chargers that speak OCPP 1.6,
 2.0.1 or 2.1 over WebSocket. A charger is answered after its message is safe
 on disk, and every part behind the journal may fail, be locked, be full or be
 restarted without a charger's notice.
 .
 One process with SQLite, or any number of gateways, consumers and API
 processes around RabbitMQ and PostgreSQL. An upgrade of this package closes no
 charger's connection.
CONTROL
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"

find "$root" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$out"
package=$out/wattpost_${version}_$architecture.deb
dpkg-deb --root-owner-group ${DEB_COMPRESSION:--Zxz} --build "$root" "$package" >/dev/null
echo "$package"

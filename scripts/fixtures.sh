#!/usr/bin/env bash
# Writes the files by which the tests prove that a later version reads what a release has written: a journal with records
# that are not delivered, a SQLite database, and with POSTGRES_URL (an empty database) a dump of PostgreSQL.
#
#   scripts/fixtures.sh PROGRAM DIRECTORY [POSTGRES_URL]
#
# PROGRAM is the wattpost of the release, DIRECTORY crates/wattpost/tests/formats/VERSION. It needs python3, tar and gzip.
set -euo pipefail
program=$(realpath "$1") out=$2 postgres=${3:-}
mkdir -p "$out"
out=$(realpath "$out")
work=$(mktemp -d)
serve=
trap '[ -z "$serve" ] || kill -9 "$serve" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
# The least journal, and no port that something else may use.
cat >wattpost.toml <<'TOML'
[journal]
bytes_max = "1 MiB"
[log]
level = "warn"
TOML

start() {
    "$program" serve --data-dir "$1" --ocpp-listen 127.0.0.1:19321 --http-listen 127.0.0.1:19322 2>serve.log &
    serve=$!
    for _ in $(seq 300); do
        python3 -c 'import socket; socket.create_connection(("127.0.0.1", 19321), 1)' 2>/dev/null && return
        kill -0 "$serve" || { cat serve.log; exit 1; }
        sleep 0.1
    done
    echo "serve does not listen" && exit 1
}

load() {
    "$program" simulate --url ws://127.0.0.1:19321/ocpp --chargers 2 --id-prefix "$1" --scenario meter-flood \
        --versions 1.6:1,2.0.1:1 --messages 12 --values-per-transaction 4 --quiet
}

start data
load OLD-
# What is sent from here on stays in the journal.
python3 - data/wattpost.db <<'PYTHON' &
import sqlite3, sys, time
lock = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
lock.execute("BEGIN EXCLUSIVE")
open("locked", "w").close()
time.sleep(600)
PYTHON
lock=$!
for _ in $(seq 300); do [ -e locked ] && break; sleep 0.1; done
load NEW-
kill -9 "$serve"
wait "$serve" || true
serve=
kill "$lock"
wait "$lock" || true

mkdir fixture
cp -r data/journal data/gateway-id fixture/
rm -f fixture/journal/lock
# One file without a log, as small as it can be.
python3 - data/wattpost.db fixture/wattpost.db <<'PYTHON'
import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute("VACUUM INTO ?", (sys.argv[2],))
PYTHON
tar --sort=name --owner=0 --group=0 -c -C fixture . | gzip -9 >"$out/data.tar.gz"

# What the release itself makes of it is what later versions must make of it.
cp -r fixture whole
start whole
for _ in $(seq 300); do
    "$program" export messages --data-dir whole >messages.ndjson
    [ "$(grep -c '"charger_id":"NEW-' messages.ndjson)" -ge 24 ] && break
    sleep 0.1
done
kill "$serve"
wait "$serve" || true
serve=
"$program" export messages --data-dir whole | gzip -9 >"$out/messages.ndjson.gz"
"$program" export transactions --data-dir whole | gzip -9 >"$out/transactions.ndjson.gz"
if [ -n "$postgres" ]; then
    "$program" replay --data-dir whole --to "$postgres" >/dev/null
    pg_dump --no-owner --no-privileges --inserts --dbname="$postgres" | gzip -9 >"$out/postgres.sql.gz"
fi
ls -l "$out"

#!/usr/bin/env bash
# Runs the whole system on this machine: `wattpost serve` and 20 simulated chargers, sped up 60 times.
#
# Environment: DEMO_DIR (target/demo), DEMO_SECONDS (until Ctrl-C), OCPP_PORT (9000), HTTP_PORT (8080).
set -euo pipefail
cd "$(dirname "$0")/.."

wattpost=target/ci/wattpost
dir=${DEMO_DIR:-target/demo}
ocpp=127.0.0.1:${OCPP_PORT:-9000}
http=127.0.0.1:${HTTP_PORT:-8080}
settings=(--data-dir "$dir/data" --ocpp-listen "$ocpp" --http-listen "$http")
rm -rf "$dir" && mkdir -p "$dir"

serve=
fleet=
stopping=
finish() {
  # Runs once, although several traps call it.
  [ -z "$stopping" ] || return 0
  stopping=1
  trap '' INT TERM
  [ -z "$fleet" ] || { kill -TERM "$fleet" 2>/dev/null || true; wait "$fleet" || true; }
  if [ -n "$serve" ]; then
    kill -TERM "$serve" 2>/dev/null || true
    wait "$serve" 2>/dev/null || true
    echo
    echo "Is any acknowledged message lost?"
    "$wattpost" audit "${settings[@]}" --ledger "$dir/ledger.ndjson" || true
  fi
}
trap finish EXIT
trap 'finish; exit 0' INT TERM

# Job control puts each child into its own process group, so that Ctrl-C signals only this script, which
# then stops them in the right order.
set -m
start_serve() {
  "$wattpost" serve "${settings[@]}" >"$dir/serve.out" 2>>"$dir/serve.log" &
  serve=$!
}
start_serve
for _ in $(seq 100); do
  grep -q 'http://' "$dir/serve.out" 2>/dev/null && break
  if ! kill -0 "$serve" 2>/dev/null; then
    serve=
    cat "$dir/serve.log" >&2
    echo "serve did not start; are ports $ocpp and $http free? (OCPP_PORT=… HTTP_PORT=… make demo)" >&2
    exit 1
  fi
  sleep 0.1
done
cat "$dir/serve.out"
cat <<EOF

20 simulated chargers start charging, sped up 60 times. The dashboard, open to users of this machine:

  http://$http/

Meanwhile, in another terminal:

  curl -s http://$http/api/v1/transactions?limit=3
  curl -s http://$http/health
  $wattpost export messages --data-dir $dir/data | tail -n 3
  kill -9 \$(pgrep -f 'wattpost serv[e]')      (this script starts it again; nothing is lost)

Ctrl-C stops everything and compares the acknowledged messages with the stored ones.

EOF
"$wattpost" simulate --url "ws://$ocpp/ocpp" --chargers 20 --speed-up 60 --transactions-per-hour 6 \
  --transaction-minutes 8 --reconnect 5 --ledger "$dir/ledger.ndjson" --drain 20 \
  ${DEMO_SECONDS:+--duration "$DEMO_SECONDS"} &
fleet=$!

while kill -0 "$fleet" 2>/dev/null; do
  if ! kill -0 "$serve" 2>/dev/null; then
    echo
    echo "serve has ended; starting it again"
    start_serve
  fi
  sleep 0.5 &
  wait $! || true
done
wait "$fleet" || true
fleet=

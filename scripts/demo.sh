#!/usr/bin/env bash
# Runs Wattpost on this machine as processes that can be killed one by one, and 20 simulated chargers, sped up 60 times. A
# process that has ended is started again after a while, so that the dashboard shows the part red (all parts grey without the
# API) and then green.
#
# SHAPE=embedded (default): a gateway, which stores in SQLite, and the API with the dashboard; nothing to install.
# SHAPE=rabbitmq: a gateway, a RabbitMQ of its own, a consumer and the API (needs Debian's rabbitmq-server).
#
# Environment: DEMO_DIR (target/demo), DEMO_SECONDS (until Ctrl-C), DEMO_RESTART_SECONDS (40), OCPP_PORT (9000),
# HTTP_PORT (8080), RABBITMQ_PORT (25679; the two above it are used too), WATTPOST (target/ci/wattpost).
set -euo pipefail
cd "$(dirname "$0")/.."

wattpost=${WATTPOST:-target/ci/wattpost}
dir=${DEMO_DIR:-target/demo}
restart_s=${DEMO_RESTART_SECONDS:-40}
ocpp=127.0.0.1:${OCPP_PORT:-9000}
http=127.0.0.1:${HTTP_PORT:-8080}
rabbitmq_port=${RABBITMQ_PORT:-25679}
settings=(--data-dir "$dir/data")
case ${SHAPE:-embedded} in
  embedded) parts=(gateway api) ;;
  rabbitmq)
    parts=(rabbitmq gateway consumer api)
    if [ ! -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; then
      echo "SHAPE=rabbitmq needs RabbitMQ: apt install rabbitmq-server, or run make demo without SHAPE" >&2
      exit 1
    fi
    settings+=(--broker-url "amqp://guest:guest@127.0.0.1:$rabbitmq_port/%2f")
    ;;
  *)
    echo "SHAPE is ${SHAPE}; it can be embedded (the default) or rabbitmq" >&2
    exit 1
    ;;
esac
for file in "$dir"/*.pid; do
  [ -f "$file" ] || continue
  # The number may belong to another program by now.
  if tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$file")/cmdline" | grep -qF -- "$dir/"; then
    echo "another demo runs in $dir; end it, or set DEMO_DIR, OCPP_PORT and HTTP_PORT" >&2
    exit 1
  fi
done
rm -rf "$dir" && mkdir -p "$dir"

# Becomes the program of a part.
become() { # PART
  case $1 in
    gateway) exec "$wattpost" gateway "${settings[@]}" --ocpp-listen "$ocpp" --http-listen 127.0.0.1:0 ;;
    consumer) exec "$wattpost" consumer "${settings[@]}" --http-listen 127.0.0.1:0 ;;
    api) exec "$wattpost" api "${settings[@]}" --http-listen "$http" ;;
    epmd) exec epmd -port $((rabbitmq_port + 2)) -address 127.0.0.1 ;;
    rabbitmq)
      local home
      home=$(realpath "$dir")/rabbitmq
      # A port mapper, a port and a cookie of its own: it knows no other RabbitMQ of this machine.
      exec env HOME="$home" LANG=C.UTF-8 detached=1 ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$((rabbitmq_port + 2)) \
        ERL_CRASH_DUMP_BYTES=0 RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" \
        RABBITMQ_DIST_PORT=$((rabbitmq_port + 1)) RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" \
        RABBITMQ_LOG_BASE="$home" RABBITMQ_MNESIA_BASE="$home/data" RABBITMQ_NODENAME="demo-$rabbitmq_port@localhost" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        /usr/lib/rabbitmq/bin/rabbitmq-server
      ;;
  esac
}

declare -A pid ended_at
# Job control puts each child into its own process group, so that Ctrl-C signals only this script, which then stops them in
# the right order.
set -m
start() { # PART
  become "$1" >"$dir/$1.out" 2>>"$dir/$1.log" &
  pid[$1]=$!
  # Without it the shell reports the death of a job with a line of this script.
  disown "$!"
  ended_at[$1]=
  echo "$!" >"$dir/$1.pid"
}
runs() { # PART
  [ -n "${pid[$1]:-}" ] && kill -0 "${pid[$1]}" 2>/dev/null
}
is_ready() { # PART
  case $1 in
    rabbitmq) (exec 3<>"/dev/tcp/127.0.0.1/$rabbitmq_port") 2>/dev/null ;;
    *) grep -q 'http://' "$dir/$1.out" ;;
  esac
}
stop() { # PART
  runs "$1" || return 0
  kill -TERM "${pid[$1]}" 2>/dev/null || true
  for _ in $(seq 300); do
    runs "$1" || return 0
    sleep 0.1
  done
  kill -KILL "${pid[$1]}" 2>/dev/null || true
}
is_complete() {
  "$wattpost" audit "${settings[@]}" --ledger "$dir/ledger.ndjson" >"$dir/audit.txt" 2>&1
}

fleet=
finished=
code=0
finish() {
  # Runs once, although several traps call it.
  [ -z "$finished" ] || return 0
  finished=1
  trap '' INT TERM
  if [ -n "$fleet" ]; then
    # Chargers send what they have kept before they end.
    for part in "${parts[@]}"; do runs "$part" || start "$part"; done
    kill -TERM "$fleet" 2>/dev/null || true
    wait "$fleet" 2>/dev/null || true
    for _ in $(seq 60); do
      is_complete && break
      sleep 0.5
    done
  fi
  for part in gateway consumer api rabbitmq epmd; do stop "$part"; done
  [ -n "$fleet" ] || return 0
  echo
  echo "Is any acknowledged message lost?"
  is_complete || code=1
  cat "$dir/audit.txt"
}
trap 'code=$?; finish; exit "$code"' EXIT
trap 'finish; exit "$code"' INT TERM

if [ "${parts[0]}" = rabbitmq ]; then
  mkdir -p "$dir/rabbitmq"
  # Erlang refuses a cookie that others may read.
  (umask 077 && echo "demo$$" >"$dir/rabbitmq/.erlang.cookie")
  printf '%s\n' "listeners.tcp.1 = 127.0.0.1:$rabbitmq_port" 'disk_free_limit.absolute = 50MB' 'log.console = false' \
    "log.file = $(realpath "$dir")/rabbitmq/rabbit.log" >"$dir/rabbitmq/rabbitmq.conf"
  echo '[].' >"$dir/rabbitmq/enabled_plugins"
  start epmd
fi
for part in "${parts[@]}"; do
  start "$part"
  for _ in $(seq 600); do
    is_ready "$part" && break
    if ! runs "$part"; then
      cat "$dir/$part.log" >&2
      echo "$part did not start; are ports $ocpp and $http free? (OCPP_PORT=… HTTP_PORT=… make demo)" >&2
      exit 1
    fi
    sleep 0.1
  done
done

cat <<TEXT
20 simulated chargers start charging, sped up 60 times. The dashboard, open without a key to everybody on this machine:

  http://$http/

Kill a part in another terminal, and watch the page Pipeline:

  kill -9 \$(cat $dir/gateway.pid)
      Gateways and Journal turn red after about 20 s. Chargers keep their messages and send them later
TEXT
if [ "${parts[0]}" = rabbitmq ]; then
  cat <<TEXT
  kill -9 \$(cat $dir/rabbitmq.pid)
      RabbitMQ and Consumers turn red within 10 s. Chargers notice nothing: their messages are stored directly
  kill -9 \$(cat $dir/consumer.pid)
      Consumers turn red after about 20 s. Chargers notice nothing: messages wait in RabbitMQ
TEXT
fi
cat <<TEXT
  kill -9 \$(cat $dir/api.pid)
      the page says Reconnecting, and no longer that parts work. Chargers notice nothing

After $restart_s s this script starts the part again, and the page is green again. Nothing is lost. Also try:

  curl -s http://$http/api/v1/transactions?limit=3
  curl -s http://$http/health
  $wattpost export messages --data-dir $dir/data | tail -n 3

Ctrl-C stops everything and compares the acknowledged messages with the stored ones.

TEXT
"$wattpost" simulate --url "ws://$ocpp/ocpp" --chargers 20 --speed-up 60 --transactions-per-hour 6 \
  --transaction-minutes 8 --reconnect 5 --ledger "$dir/ledger.ndjson" --drain 20 \
  ${DEMO_SECONDS:+--duration "$DEMO_SECONDS"} &
fleet=$!

while kill -0 "$fleet" 2>/dev/null; do
  for part in "${parts[@]}"; do
    if runs "$part"; then
      continue
    elif [ -z "${ended_at[$part]}" ]; then
      ended_at[$part]=$SECONDS
      echo "$part has ended; it starts again in $restart_s s"
    elif [ $((SECONDS - ended_at[$part])) -ge "$restart_s" ]; then
      echo "$part starts again"
      start "$part"
    fi
  done
  sleep 0.5 &
  wait $! || true
done

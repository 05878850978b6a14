#!/bin/sh
# Brings back what backup.sh kept. Stop app and workers first.
#   restore.sh postgres FOLDER             into RESCORED_DATABASE_URL, in one transaction, replacing its tables
#   restore.sh redis    FOLDER DATA_FOLDER   into the data folder of a Redis that is stopped
set -eu

usage() { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage

case $1 in
postgres)
  url=$(printf %s "$RESCORED_DATABASE_URL" | sed 's/^postgresql+[a-z0-9]*:/postgresql:/')
  pg_restore --clean --if-exists --no-owner --single-transaction --exit-on-error --dbname="$url" "$2/postgres.dump"
  ;;
redis)
  [ $# -eq 3 ] || usage
  redis-check-rdb "$2/redis.rdb" >/dev/null
  socket=$(mktemp -u)
  # A Redis with an append-only file reads nothing else at its start: so one without reads the backup and writes it.
  rm -rf "$3/appendonlydir"
  cp "$2/redis.rdb" "$3/dump.rdb"
  redis-server --port 0 --unixsocket "$socket" --dir "$3" --dbfilename dump.rdb --appendonly no --daemonize no \
    >/dev/null &
  server=$!
  ask() { redis-cli -s "$socket" "$@"; }
  until ask ping 2>/dev/null | grep -q PONG; do
    kill -0 "$server" 2>/dev/null || { echo "Redis cannot read $2/redis.rdb" >&2; exit 1; }
    sleep 0.1
  done
  ask config set appendonly yes >/dev/null
  until ask info persistence | grep -q 'aof_rewrite_in_progress:0' \
    && ask info persistence | grep -q 'aof_rewrite_scheduled:0'; do sleep 0.1; done
  ask shutdown save >/dev/null 2>&1 || true
  wait "$server" || true
  ;;
*) usage ;;
esac

#!/bin/sh
# Backs up PostgreSQL (history, accounts) and Redis (queue, counts) into a new folder.
#   backup.sh FOLDER
# RESCORED_DATABASE_URL and RESCORED_BROKER_URL say what; one that is unset is left out. Files appear whole or
# not at all. The store is not in it: versioning and lifecycle are the bucket's own.
set -eu

[ $# -eq 1 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
folder=$1/$(date -u +%Y%m%dT%H%M%SZ)
umask 077
mkdir -p "$folder"

if [ -n "${RESCORED_DATABASE_URL:-}" ]; then
  url=$(printf %s "$RESCORED_DATABASE_URL" | sed 's/^postgresql+[a-z0-9]*:/postgresql:/')
  pg_dump --format=custom --no-owner --file="$folder/postgres.part" "$url"
  mv "$folder/postgres.part" "$folder/postgres.dump"
fi
if [ -n "${RESCORED_BROKER_URL:-}" ]; then
  redis-cli -u "$RESCORED_BROKER_URL" --rdb "$folder/redis.part" >/dev/null
  redis-check-rdb "$folder/redis.part" >/dev/null
  mv "$folder/redis.part" "$folder/redis.rdb"
fi
echo "$folder"

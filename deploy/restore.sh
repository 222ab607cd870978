#!/bin/sh
# deploy/restore.sh DIR: restore a backup into this project's stack. Its stores' contents are replaced; its
# passwords are kept.
set -eu
: "${1:?name the directory of the backup: deploy/restore.sh DIR}"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/compose.sh"
(cd "$1" && sha256sum -c --quiet SHA256SUMS)

# No service may write while the stores are replaced.
compose stop nginx api drain worker-cpu beat bootstrap redis-history
compose up -d postgres
until compose exec -T postgres pg_isready -q -h 127.0.0.1 -U retort -d retort; do sleep 1; done
compose exec -T postgres sh -c \
  'PGPASSWORD=$(cat /run/secrets/postgres_password) pg_restore -h 127.0.0.1 -U retort -d retort --clean --if-exists --no-owner' \
  <"$1/retort.pgdump"
# Redis ignores a snapshot if it has an append-only file. So a server without one reads the snapshot, and
# then writes the append-only file.
compose run --rm --no-deps -T redis-history sh -c '
  set -eu
  server=$(command -v valkey-server || command -v redis-server)
  cli="$(command -v valkey-cli || command -v redis-cli) -s /tmp/restore.sock"
  rm -rf /data/appendonlydir
  cat >/data/dump.rdb
  "$server" --dir /data --appendonly no --save "" --port 0 --unixsocket /tmp/restore.sock --daemonize yes >/dev/null
  until $cli ping 2>/dev/null | grep -q PONG; do sleep 1; done
  $cli config set appendonly yes >/dev/null
  until $cli info persistence | tr -d "\r" | grep -qx aof_rewrite_in_progress:0 &&
    $cli info persistence | tr -d "\r" | grep -qx aof_rewrite_scheduled:0; do sleep 1; done
  $cli dbsize
  $cli shutdown nosave || true
  rm -f /data/dump.rdb' <"$1/histories.rdb"
compose run --rm --no-deps -T worker-cpu tar -C /var/lib/retort/bundles -xf - <"$1/bundles.tar"
compose up -d

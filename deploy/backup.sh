#!/bin/sh
# deploy/backup.sh DIR: back up a running stack: database tables, histories and bundles.
# No service stops. COMPOSE names the program if it is not `docker compose`.
set -eu
: "${1:?name the directory for the backup: deploy/backup.sh DIR}"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/compose.sh"
mkdir -p "$1"

compose exec -T postgres sh -c \
  'PGPASSWORD=$(cat /run/secrets/postgres_password) pg_dump -h 127.0.0.1 -U retort -Fc retort' >"$1/retort.pgdump"
compose exec -T redis-history sh -c '
  cli=$(command -v valkey-cli || command -v redis-cli)
  REDISCLI_AUTH=$(cat /run/secrets/redis_password) "$cli" --rdb /tmp/histories.rdb >/dev/null
  cat /tmp/histories.rdb && rm /tmp/histories.rdb' >"$1/histories.rdb"
compose run --rm --no-deps -T worker-cpu tar -C /var/lib/retort/bundles -cf - . >"$1/bundles.tar"
(cd "$1" && sha256sum retort.pgdump histories.rdb bundles.tar >SHA256SUMS && ls -l)

#!/bin/sh
# Starts PostgreSQL with the password from its file, in any of the supported images.
set -eu
POSTGRES_PASSWORD=$(cat /run/secrets/postgres_password)
export POSTGRES_PASSWORD
if command -v docker-entrypoint.sh >/dev/null; then exec docker-entrypoint.sh postgres; fi
exec "$(ls /usr/local/bin/*-postgres)"

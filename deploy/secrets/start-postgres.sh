#!/bin/sh
# Hands the password's file to the image's own start, whichever image of PostgreSQL it is.
set -eu
POSTGRES_PASSWORD=$(cat /run/secrets/postgres_password)
export POSTGRES_PASSWORD
if command -v docker-entrypoint.sh >/dev/null; then exec docker-entrypoint.sh postgres; fi
exec "$(ls /usr/local/bin/*-postgres)"

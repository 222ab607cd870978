#!/bin/sh
# Writes missing secrets into a directory; existing files are never changed.
# Passwords consist of letters and digits, so that URLs can contain them unescaped.
set -eu
umask 077
cd "$1"

password() {  # password NAME: print the password; generate it if it is missing
  [ -s "$1" ] || { head -c 512 /dev/urandom | tr -dc 'A-Za-z0-9' | head -c 32 >"$1.new" && mv "$1.new" "$1"; }
  cat "$1"
}

file() {  # file NAME TEXT: write a file that contains passwords, if it is missing
  [ -s "$1" ] || { printf '%s\n' "$2" >"$1.new" && mv "$1.new" "$1"; }
}

postgres=$(password postgres_password)
redis=$(password redis_password)
password grafana_password >/dev/null
file database_url "postgresql+psycopg://retort:$postgres@postgres:5432/retort"
file redis_history_url "redis://:$redis@redis-history:6379/0"
file redis_broker_url "redis://:$redis@redis-broker:6379/0"
file redis.conf "requirepass $redis"
# Readers run under several user ids; access is controlled by who can mount the volume.
chmod 0444 ./*
chmod 0755 .

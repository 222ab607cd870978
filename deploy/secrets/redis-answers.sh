#!/bin/sh
# Healthy: the server answers a client that knows the password.
cli=$(command -v valkey-cli || command -v redis-cli)
REDISCLI_AUTH=$(cat /run/secrets/redis_password) "$cli" ping | grep -q PONG

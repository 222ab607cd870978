#!/bin/sh
# Health check: the server responds to a client with the password.
cli=$(command -v valkey-cli || command -v redis-cli)
REDISCLI_AUTH=$(cat /run/secrets/redis_password) "$cli" ping | grep -q PONG

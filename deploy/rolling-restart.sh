#!/bin/sh
# deploy/rolling-restart.sh: the API containers one after the other; the next one only when the last one is healthy again.
# A container that is told to stop goes on answering for RETORT_LEAVE_S, so with two or more no request is lost.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/compose.sh"
for container in $(compose ps -q api); do
  docker restart -t 30 "$container" >/dev/null
  until [ "$(docker inspect -f '{{.State.Health.Status}}' "$container")" = healthy ]; do sleep 1; done
  echo "$container is healthy again"
done

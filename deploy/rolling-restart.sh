#!/bin/sh
# deploy/rolling-restart.sh: restart the API containers one after the other; each waits until the one before is healthy.
# A stopping container still responds for RETORT_LEAVE_S, so no request is lost with two or more containers.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/compose.sh"
for container in $(compose ps -q api); do
  docker restart -t 30 "$container" >/dev/null
  until [ "$(docker inspect -f '{{.State.Health.Status}}' "$container")" = healthy ]; do sleep 1; done
  echo "$container is healthy again"
done

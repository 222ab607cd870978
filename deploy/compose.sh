# Read by the scripts beside it: `compose …` is whichever Compose is installed. COMPOSE chooses another.
if [ -z "${COMPOSE:-}" ]; then
  if docker compose version >/dev/null 2>&1; then COMPOSE='docker compose'; else COMPOSE=docker-compose; fi
fi
compose() { $COMPOSE "$@"; }

# Sourced by the scripts in this directory: `compose …` runs the installed Compose. COMPOSE names another program.
if [ -z "${COMPOSE:-}" ]; then
  if docker compose version >/dev/null 2>&1; then COMPOSE='docker compose'; else COMPOSE=docker-compose; fi
fi
compose() { $COMPOSE "$@"; }

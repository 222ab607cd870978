"""The program `retort-serve`: serves the API. `retort-serve key NAME` creates an API key."""

import argparse
import gc
import logging
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from retort.serving.api.app import Application, create_app
from retort.serving.api.asgi import AsgiApp
from retort.serving.api.auth import Scope, create_key, read_keys
from retort.serving.api.loopback import is_loopback, loopback_only
from retort.serving.api.tracing import with_tracing
from retort.serving.models.model_slots import open_model_slots
from retort.serving.runtime.connections import LimitedConnection, raise_file_limit
from retort.serving.runtime.settings import ServingSettings
from retort.serving.runtime.workers import START_S, Workers
from retort.shared.base.early_exit import INTERRUPTED, exit_line
from retort.shared.base.errors import RetortError, invalid_reason
from retort.shared.base.logging import configure_logging
from retort.shared.base.parent_death import end_with_parent
from retort.shared.base.settings import UNSET, Settings
from retort.shared.db.session import database_address
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.model.manifest import read_manifest

logger = logging.getLogger("retort.serving")

_BACKLOG = 2048
# Longer than the 60 s after which proxies (nginx, AWS and GCP load balancers) close an idle connection: if the server
# closed it first, a request could be sent to a closed connection.
_KEEP_ALIVE_S = 75
# Requests leave no reference cycles. With the default thresholds (700 objects) the garbage collector took an eighth of
# the CPU time and doubled the p99 latency.
_GC_THRESHOLDS = (100_000, 50, 100)


def main() -> None:
    """Serve until a signal; exit with 2 when the settings, their files or the bundle are invalid, 130 after Ctrl-C."""
    options = _parse_arguments(sys.argv[1:])
    try:
        if options.command == "key":
            print(add_key(options.file, options.name, options.scopes, options.tenant))
            return
        set_variables(options)
        serve(Settings(), ServingSettings())
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        prefix = "RETORT_" if error.title == ServingSettings.__name__ else ""
        name = prefix + "_".join(str(part) for part in first["loc"]).upper()
        sys.exit(_report_error(f"the setting {name} is invalid: {invalid_reason(first)}"))
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        name = f"RETORT_{field.group(1).upper()}" if field else str(error)
        sys.exit(_report_error(f"the setting {name} is invalid: it must be JSON, see serving/runtime/settings.py."))
    except OSError as error:
        prefix = f"{error.filename}: " if error.filename else ""
        sys.exit(_report_error(f"{prefix}{error.strerror or error}; check the path and its permissions."))
    except RetortError as error:
        sys.exit(_report_error(str(error)))
    except KeyboardInterrupt:  # the server raises it once all requests are answered
        sys.stderr.write(exit_line("retort-serve", INTERRUPTED))
        sys.exit(INTERRUPTED)


def set_variables(options: argparse.Namespace) -> None:
    """Let the options win over the RETORT_ variables, in this process and in its workers.

    Raises:
        RetortError: A bundle and an alias are both given.
    """
    if options.bundle is not None and options.alias is not None:
        raise RetortError("--bundle and --alias exclude each other: a server has one bundle, or follows an alias.")
    values = {name: getattr(options, name) for name in ("host", "port", "bundle", "alias", "workers")}
    if options.alias is not None:
        values["bundle"] = UNSET
    os.environ |= {f"RETORT_{name.upper()}": str(value) for name, value in values.items() if value is not None}


def serve(settings: Settings, serving: ServingSettings) -> None:
    """Bind, announce the address, and run one worker in this process or several as children."""
    configure_logging(settings.log_level, as_json=settings.log_json, sampled=True)
    check_binding(serving)
    database_address(settings.database)  # checks the address; the database may be down
    if serving.workers == 1:
        app = create_app(settings, serving, models=open_model_slots(serving))
        listener = _bind(serving)
        _announce(listener, settings, serving)
        uvicorn.Server(uvicorn.Config(wrap(app, serving), **_options(serving))).run(sockets=[listener])
        return
    if serving.bundle is not None:
        read_manifest(serving.bundle)
    with tempfile.TemporaryDirectory(prefix="retort-metrics-") as metrics_dir:
        # prometheus_client reads the environment at import, in each child.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ["RETORT_METRICS_DIR"] = metrics_dir
        listener = _bind(serving)
        _announce(listener, settings, serving)
        config = uvicorn.Config(
            "retort.serving.main:worker",
            factory=True,
            workers=serving.workers,
            timeout_worker_healthcheck=START_S,  # for the rolling restart on SIGHUP
            **_options(serving),
        )
        Workers(config, [listener], Path(metrics_dir)).run()


def worker() -> AsgiApp:
    """Create the application of a child process, which reads the settings itself and ends with the supervisor."""
    end_with_parent(signal.SIGTERM)
    settings, serving = Settings(), ServingSettings()
    configure_logging(settings.log_level, as_json=settings.log_json, sampled=True)
    return wrap(create_app(settings, serving), serving)


def wrap(app: Application, serving: ServingSettings) -> AsgiApp:
    """Return the application as it is served: protected from web pages when there are no keys, and traced."""
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    guarded = loopback_only(app, serving.reached_at is not None) if serving.keys_file is None else app
    return with_tracing(guarded) if serving.traces else guarded


def check_binding(serving: ServingSettings) -> None:
    """Refuse to serve an address that is reachable from outside without API keys.

    Raises:
        RetortError: The address is not loopback and there are no keys.
    """
    reached_at = serving.reached_at or serving.host
    if serving.keys_file is None and not is_loopback(reached_at):
        name = "RETORT_REACHED_AT" if serving.reached_at else "RETORT_HOST"
        raise RetortError(
            f"{name}={reached_at} is reachable from outside, but there are no API keys; "
            "set RETORT_KEYS_FILE, or bind to 127.0.0.1."
        )


def add_key(file: Path, name: str, scopes: Sequence[str], tenant: str) -> str:
    """Create a key, write its hash to the key file and return the key, which is shown once.

    Raises:
        RetortError: The file already has a key of this name.
    """
    entries = read_keys(file) if file.exists() else ()
    if any(entry.name == name for entry in entries):
        raise RetortError(f"the key file {file} already has a key {name!r}; choose another name.")
    key, entry = create_key(name, frozenset(map(Scope, scopes)), tenant)
    temporary = file.with_suffix(".new")
    temporary.touch(mode=0o600)
    documents = [each.model_dump(mode="json") for each in (*entries, entry)]
    temporary.write_bytes(orjson.dumps(documents, option=orjson.OPT_INDENT_2))
    temporary.replace(file)
    return key


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="retort-serve",
        description="Serve recommendations over HTTP; configured by environment variables (RETORT_...), over which "
        "options win.",
    )
    parser.add_argument("--host", help="address to bind; unset: RETORT_HOST, or 127.0.0.1")
    parser.add_argument("--port", type=int, help="0: any free port; unset: RETORT_PORT, or 8000")
    parser.add_argument("--bundle", help="a bundle's directory; unset: RETORT_BUNDLE, or the champion of the registry")
    parser.add_argument("--alias", help="alias to follow; unset: RETORT_ALIAS, or champion")
    parser.add_argument("--workers", type=int, help="processes; unset: RETORT_WORKERS, or 1")
    parser.add_argument("--version", action="version", version=f"retort-serve {version('retort-recsys')}")
    key = parser.add_subparsers(dest="command").add_parser("key", help="create an API key; it is shown once")
    key.add_argument("name", help="unique name of the key")
    key.add_argument(
        "--scopes",
        nargs="+",
        choices=[scope.value for scope in Scope],
        default=["read"],
        help="permissions (default: read)",
    )
    key.add_argument("--tenant", default=DEFAULT_TENANT, help="tenant of the key (default: %(default)s)")
    key.add_argument("--file", type=Path, default=Path("keys.json"), help="key file (default: %(default)s)")
    return parser.parse_args(arguments)


def _bind(serving: ServingSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((serving.host, serving.port))
    except OSError as error:
        listener.close()
        raise RetortError(
            f"{serving.host}:{serving.port} cannot be bound ({error.strerror}); set RETORT_PORT to a free port."
        ) from None
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    return listener


def _announce(listener: socket.socket, settings: Settings, serving: ServingSettings) -> None:
    """Print one line with the address, the bundle, the history store and the authentication."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    histories = "Redis" if settings.histories_url else "this process's memory (REDIS_URL is not set)"
    origin = Path(serving.bundle).name if serving.bundle else f"alias {serving.alias}"
    authentication = "API keys" if serving.keys_file else "no API keys, loopback only"
    pages = "console at /console, docs at /docs" if serving.console else "docs at /docs"
    print(
        f"Retort serves {origin} at http://{shown}:{port} ({pages}; histories in {histories}; {authentication})",
        flush=True,
    )


def _options(serving: ServingSettings) -> dict[str, Any]:
    # of this process and, by inheritance, of the workers
    max_connections = raise_file_limit(serving.max_connections)
    return {
        "loop": "uvloop",
        "http": partial(LimitedConnection, read_timeout_s=serving.read_timeout_s, max_connections=max_connections),
        "ws": "none",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "date_header": False,
        "backlog": _BACKLOG,
        "timeout_keep_alive": _KEEP_ALIVE_S,
        "timeout_graceful_shutdown": int(serving.drain_s),
    }


def _report_error(message: str) -> int:
    print(f"retort-serve: {message}", file=sys.stderr)
    return 2

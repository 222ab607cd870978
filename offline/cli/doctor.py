"""The `retort doctor` command: looks at everything that a run and a server need; one sentence and a remedy each."""

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from retort.offline.cli._options import AsJson
from retort.shared.base.errors import RetortError
from retort.shared.base.settings import LanguageModelSettings, Settings

Verdict = Literal["ok", "note", "fails"]

_LEAST_DISK_BYTES = 2 << 30
_CLOCK_TOLERANCE_S = 5.0
_DEFAULT_PORT = 8000
_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Finding:
    """One finding. fails: something will not work; note: worth knowing."""

    what: str
    verdict: Verdict
    sentence: str
    remedy: str = ""


@dataclass(frozen=True)
class _Situation:
    settings: Settings
    recipe: str | None
    port: int


def doctor(
    recipe: Annotated[str | None, typer.Argument(help="also check what this recipe needs")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="port of the API")] = _DEFAULT_PORT,
    as_json: AsJson = False,
) -> None:
    """Check Redis, database, bundle, encoder, disk, port, clock, threads and GPU; exit status 1 if one will fail."""
    from rich.console import Console

    from retort.offline.common.terminal import print_json

    found = list(examine(Settings(), recipe, port))
    if as_json:
        print_json([vars(finding) for finding in found])
    else:
        console = Console()
        for finding in found:
            colour = {"ok": "green", "note": "yellow", "fails": "red"}[finding.verdict]
            console.print(f"[{colour}]{finding.verdict:>5}[/]  {finding.what:<15}", end="")
            text = f"{finding.sentence} {finding.remedy}".strip()
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    if any(finding.verdict == "fails" for finding in found):
        raise typer.Exit(1)


def examine(settings: Settings, recipe: str | None = None, port: int = _DEFAULT_PORT) -> Iterator[Finding]:
    """Yield the findings; a check that breaks becomes a finding itself."""
    situation = _Situation(settings, recipe, port)
    for check in _CHECKS:
        what = check.__name__.strip("_").replace("_", " ")
        try:
            yield from check(situation)
        except (RetortError, OSError) as error:
            yield Finding(what, "fails", str(error))
        except Exception as error:  # noqa: BLE001 - whatever is wrong is the finding
            reason = (str(error).splitlines() or [""])[0]
            yield Finding(what, "fails", f"the check ended with {type(error).__name__}: {reason}.")


def _redis(situation: _Situation) -> Iterator[Finding]:
    import redis

    from retort.offline.local.local_redis import redis_binary, running_redis
    from retort.shared.history.redis_clients import open_client

    settings = situation.settings
    urls = {"REDIS_URL": settings.redis_url, "HISTORIES_REDIS_URL": settings.histories_redis_url}
    for name, url in urls.items():
        if url is None:
            continue
        shown = url.rpartition("@")[2].removeprefix("redis://")
        try:
            with open_client(url, timeout_s=_TIMEOUT_S) as client:
                client.ping()
        except redis.RedisError as error:
            yield Finding(
                "redis", "fails", f"{name} {shown} is unavailable ({error}).", "Start it, or unset the variable."
            )
        else:
            yield Finding("redis", "ok", f"{name} {shown} answers; workers and servers with this address share it.")
    if settings.redis_url is None:
        found = redis_binary()
        program = found[1] if found else "fakeredis, whose data are lost when it ends"
        running = "; another retort process has it running" if running_redis(settings.retort_home) else ""
        shared = "Set REDIS_URL so that `retort history load` and `retort serve` see one Redis."
        remedy = shared if settings.histories_url is None else ""
        yield Finding(
            "redis", "note", f"REDIS_URL is not set; commands use a private server ({program}{running}).", remedy
        )


def _database(situation: _Situation) -> Iterator[Finding]:
    from retort.shared.db import migrate
    from retort.shared.db.session import database_address

    url = situation.settings.database
    shown = database_address(url).render_as_string(hide_password=True)
    if _is_new_sqlite(url):
        yield Finding("database", "ok", f"{shown} does not exist yet; the first command creates it.")
        return
    revision, head = migrate.current(url), migrate.head()
    if revision == head:
        yield Finding("database", "ok", f"{shown} has this version's tables.")
    else:
        state = "no tables" if revision is None else f"tables of revision {revision}, this version needs {head}"
        yield Finding("database", "fails", f"{shown} has {state}.", "Run `retort db upgrade`.")


def _is_new_sqlite(url: str) -> bool:
    """Whether the database is an SQLite file that does not exist yet; opening it would create it."""
    return url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists()


def _bundle(situation: _Situation) -> Iterator[Finding]:
    from retort.shared.db.session import open_database
    from retort.shared.model import registry
    from retort.shared.model.bundle import open_bundle

    url = situation.settings.database
    if _is_new_sqlite(url):
        yield Finding("bundle", "note", "no bundle is published.", "Run `retort quickstart` or `retort publish`.")
        return
    engine = open_database(url)
    try:
        published = registry.aliases(engine).get(registry.CHAMPION)
        if published is None:
            yield Finding("bundle", "note", "no champion is published.", "Run `retort quickstart` or `retort publish`.")
            return
        uri = registry.resolve(engine, registry.CHAMPION).uri
    finally:
        engine.dispose()
    if "://" in uri.removeprefix("file://"):
        yield Finding("bundle", "note", f"the champion is at {uri}; it was not read.")
        return
    bundle = open_bundle(Path(uri.removeprefix("file://")))
    manifest = bundle.manifest
    yield Finding("bundle", "ok", f"champion {manifest.name} {bundle.bundle_id} is whole: {manifest.n_items:,} items.")


def _recipe(situation: _Situation) -> Iterator[Finding]:
    from retort.offline.embeddings.served_model import check_encoder
    from retort.offline.recipes.recipe import load_recipe

    if situation.recipe is None:
        return
    recipe = load_recipe(situation.recipe)
    yield Finding("recipe", "ok", f"{situation.recipe} is valid; `retort data check` reads its data.")
    if recipe.teacher_parts():
        check_encoder(recipe.encoder)
        yield Finding("encoder", "ok", f"{recipe.encoder.model} is at hand.")


def _language_model(situation: _Situation) -> Iterator[Finding]:
    import httpx

    from retort.offline.common.http import request

    settings = LanguageModelSettings()
    if settings.openai_base_url is None:
        yield Finding("language model", "note", "OPENAI_BASE_URL is not set; profiles are written by rule.")
        return
    key = settings.openai_api_key
    headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    try:
        with httpx.Client(base_url=settings.openai_base_url, headers=headers) as client:
            status = request(client, "GET", "models", deadline_s=_TIMEOUT_S).status_code
    except httpx.HTTPError as error:
        remedy = "Start the server, or correct OPENAI_BASE_URL."
        yield Finding("language model", "fails", f"{settings.openai_base_url} is unavailable ({error}).", remedy)
        return
    if status in (401, 403):
        yield Finding(
            "language model", "fails", f"the server refuses the key (status {status}).", "Set OPENAI_API_KEY."
        )
    else:
        yield Finding("language model", "ok", f"{settings.openai_base_url} answers.")


def _disk(situation: _Situation) -> Iterator[Finding]:
    home = situation.settings.retort_home.absolute()
    existing = next(path for path in (home, *home.parents) if path.exists())
    if not existing.is_dir():
        yield Finding("disk", "fails", f"{existing} is a file.", "Set RETORT_HOME to a directory.")
        return
    if not os.access(existing, os.W_OK):
        yield Finding("disk", "fails", f"{existing} cannot be written.", "Set RETORT_HOME to a directory of yours.")
        return
    free = shutil.disk_usage(existing).free
    sentence = f"{free / (1 << 30):.1f} GiB are free for {home}."
    if free < _LEAST_DISK_BYTES:
        yield Finding("disk", "fails", sentence, "Free some space, or set RETORT_HOME to another disk.")
    else:
        yield Finding("disk", "ok", sentence)


def _port(situation: _Situation) -> Iterator[Finding]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", situation.port))
        except OSError:
            remedy = "End that program, or use `retort serve --port`."
            yield Finding("port", "note", f"port {situation.port} is taken by another program.", remedy)
            return
    yield Finding("port", "ok", f"port {situation.port} is free.")


def _clock(situation: _Situation) -> Iterator[Finding]:
    import redis

    from retort.shared.history.redis_clients import open_client

    url = situation.settings.histories_url
    if url is None:
        return
    try:
        with open_client(url, timeout_s=_TIMEOUT_S) as client:
            seconds, microseconds = client.time()
    except redis.RedisError:
        return  # reported above
    difference = abs(time.time() - (float(seconds) + float(microseconds) / 1e6))
    if difference > _CLOCK_TOLERANCE_S:
        sentence = f"this machine's clock and Redis' differ by {difference:.0f} s."
        yield Finding("clock", "fails", sentence, "Set both by NTP; events are ordered by time.")
    else:
        yield Finding("clock", "ok", "this machine's clock agrees with Redis'.")


def _threads(situation: _Situation) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > cores:
        sentence = f"OMP_NUM_THREADS = {given}, but there are {cores} cores."
        yield Finding("threads", "note", sentence, f"Set it to {cores} or less; more threads wait for each other.")
        return
    yield Finding("threads", "ok", f"{cores} cores; training uses {given or cores} threads.")


def _gpu(situation: _Situation) -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        yield Finding("gpu", "ok", f"torch sees {torch.cuda.device_count()} GPU(s): {torch.cuda.get_device_name(0)}.")
    elif shutil.which("nvidia-smi"):
        remedy = "Install torch for CUDA, and check the driver."
        yield Finding(
            "gpu", "note", f"the machine has an NVIDIA driver, but torch {torch.__version__} sees no GPU.", remedy
        )
    else:
        yield Finding("gpu", "note", "no GPU; training, text vectors and serving run on the CPU.")


_CHECKS: tuple[Callable[[_Situation], Iterator[Finding]], ...] = (
    _redis,
    _database,
    _bundle,
    _recipe,
    _language_model,
    _disk,
    _port,
    _clock,
    _threads,
    _gpu,
)

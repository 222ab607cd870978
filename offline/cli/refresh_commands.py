"""What `retort refresh …` does."""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from sqlalchemy import Engine

from retort.offline.cli.bootstrap import NOTHING
from retort.offline.common.database import migrate_and_open
from retort.offline.jobs.celery_app import make_app
from retort.offline.local.local_redis import running_redis
from retort.offline.recipes.recipe import load_recipe
from retort.offline.refresh import jobs
from retort.offline.refresh.chunks import next_try_s
from retort.offline.refresh.messages import schedule_starts, send_look
from retort.offline.refresh.requests import prepare_asked
from retort.offline.refresh.spec import Words, refresh_of
from retort.offline.refresh.start import start_refresh
from retort.offline.refresh.worker import RefreshWorker
from retort.shared.base.errors import DataError, RetortError, StoreError
from retort.shared.base.settings import LanguageModelSettings, Settings
from retort.shared.profiles import refreshes
from retort.shared.profiles.refreshes import UNFINISHED, JobStatus, RefreshError

_logger = logging.getLogger(__name__)
_LOOK_EVERY_S = 1.0
_A_MOMENT_S = 0.05  # a chunk that another worker is just taking is not asked for without a pause
Budget = tuple[int | None, float | None]


def start_from_recipe(
    reference: str,
    data: Path | None,
    out: Path,
    overrides: list[str],
    policy: str,
    rules: list[str],
    users: Path | None,
    budget: Budget = (None, None),
) -> str:
    """Read the recipe's data (or find it read), choose users, write the job down, wake the workers; its id."""
    words, settings = Words.of(reference, data, out, overrides, policy, rules, _listed(users)), Settings()
    engine = migrate_and_open(settings)
    with refresh_of(engine, words, budget) as (pipeline, refresh):
        job_id = start_refresh(engine, refresh, out, pipeline.context.language_model, words.origin)
    redis_url = settings.redis_url or running_redis(settings.retort_home)
    if redis_url is not None:
        send_look(make_app(redis_url))
    return job_id


def _listed(users: Path | None) -> frozenset[str] | None:
    if users is None:
        return None
    if not users.is_file():
        raise DataError(f"there is no file {users}; give one with a user_id a line.")
    found = frozenset(line.strip() for line in users.read_text(encoding="utf-8").splitlines() if line.strip())
    if not found:
        raise DataError(f"{users} names no user; write one user_id a line.")
    return found


def work_here(poll_s: float, *, until_done: bool) -> None:
    """Be a worker without Celery until told to stop; Ctrl-C and SIGTERM give the chunk back."""
    engine = migrate_and_open(Settings())
    with RefreshWorker(engine, LanguageModelSettings(), before_look=lambda: prepare_asked(engine)) as worker:
        if until_done:
            with _stopped_by_signals(worker):
                n_chunks = _until_done(engine, worker)
            Console(stderr=True).print(f"{n_chunks} chunks done", highlight=False)
        else:
            wake = threading.Event()
            with _stopped_by_signals(worker, wake):
                worker.work_forever(wake, poll_s)


def _until_done(engine: Engine, worker: RefreshWorker) -> int:
    """Work until nothing is left, waiting for chunks that are tried again after a pause; how many were done."""
    n_chunks = worker.work_on()
    while (wait_s := next_try_s(engine)) is not None and not worker.stopping.wait(wait_s + _A_MOMENT_S):
        n_chunks += worker.work_on()
    return n_chunks


@contextmanager
def _stopped_by_signals(worker: RefreshWorker, wake: threading.Event | None = None) -> Iterator[None]:
    def stop(*_: object) -> None:
        worker.stopping.set()
        if wake is not None:
            wake.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_by_beat(what: dict[str, Any]) -> None:
    """What Celery beat sends for: a refresh by policy. One still at work, or nobody due, is no failure."""
    data = None if what["data"] is None else Path(what["data"])
    try:
        start_from_recipe(
            what["recipe"], data, Path(what["out"]), what["overrides"], what["policy"], what["rules"], None
        )
    except RetortError as error:
        # a scheduled start that fails must not end the worker: the next tick may find things in order
        _logger.warning("no refresh of %s was started: %s", what["recipe"], error)


def run_schedule(
    reference: str,
    data: Path | None,
    out: Path,
    overrides: list[str],
    policy: str,
    rules: list[str],
    every_hours: float,
) -> None:
    """Be Celery's beat until told to stop. `none`: start nothing and rest, for a container that ends is restarted."""
    if reference == NOTHING:
        _rest()
        return
    load_recipe(reference, overrides)
    words = Words.of(reference, data, out, overrides, policy, rules)
    settings = Settings()
    redis_url = settings.redis_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("beat sends through Redis: set REDIS_URL, or let cron run `retort refresh start` instead.")
    app = make_app(redis_url)
    what = {**words.origin, "policy": policy, "rules": rules}
    schedule_starts(app, every_hours * 3600, what)
    settings.retort_home.mkdir(parents=True, exist_ok=True)
    app.Beat(schedule=str(settings.retort_home / "beat-refresh"), loglevel=settings.log_level).run()


def _rest() -> None:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    Console(stderr=True).print("no recipe was named, so no refresh is started by the clock", highlight=False)
    told.wait()


def show_status(reference: str | None, *, watch: bool) -> None:
    """One refresh, or the latest ones; `watch` until it ends."""
    engine, console = migrate_and_open(Settings()), Console()
    if reference is None and not watch:
        console.print(_list_table(refreshes.read_jobs(engine)))
        return
    reference = reference or _latest(engine)
    job = refreshes.read_job(engine, reference)
    if watch:
        job = _watched(engine, job, console)
    if not (watch and console.is_terminal):
        console.print(status_table(job))
    for problem, count in refreshes.user_problems(engine, reference).most_common(10):
        console.print(f"{count} users without a profile: {problem}", markup=False, highlight=False)
    if job.error:
        raise RefreshError(f"refresh {job.id[:8]}: {job.error}")


def _watched(engine: Engine, job: JobStatus, console: Console) -> JobStatus:
    """Its last state. A terminal sees it change; a file or a pipe would only be filled with tables."""
    if not console.is_terminal:
        while job.status in UNFINISHED:
            time.sleep(_LOOK_EVERY_S)
            job = refreshes.read_job(engine, job.id)
        return job
    with Live(status_table(job), console=console, auto_refresh=False) as live:
        while job.status in UNFINISHED:
            time.sleep(_LOOK_EVERY_S)
            job = refreshes.read_job(engine, job.id)
            live.update(status_table(job), refresh=True)
    return job


def _latest(engine: Engine) -> str:
    latest = refreshes.read_jobs(engine, limit=1)
    if not latest:
        raise RefreshError("nothing was started yet; `retort refresh start RECIPE` does it.")
    return latest[0].id


def _list_table(found: list[JobStatus]) -> Table:
    table = Table("refresh", "recipe", "status", "users", "tokens", "cost", "started", "error")
    for job in found:
        tokens = job.prompt_tokens + job.completion_tokens
        started = job.created_at.strftime("%Y-%m-%d %H:%M")
        users = f"{job.users_done:,}/{job.n_users:,}"
        row = (job.id[:8], job.name, job.status, users, f"{tokens:,}", f"${job.cost_usd:.2f}", started, job.error or "")
        table.add_row(*row)
    return table


def status_table(job: JobStatus) -> Table:
    """Everything about one refresh."""
    table = Table(title=f"{job.name} {job.id[:8]}: {job.status}", show_header=False)
    budget = f" of {job.budget_tokens:,}" if job.budget_tokens else ""
    money = f" of ${job.budget_usd:.2f}" if job.budget_usd else ""
    rows = {
        "users": f"{job.users_done:,} of {job.n_users:,}",
        "chunks": ", ".join(f"{count:,} {name}" for name, count in sorted(job.chunks.items())),
        "texts": f"{job.written:,} written, {job.reused:,} reused, {job.failed:,} failed",
        "tokens": f"{job.prompt_tokens:,} read and {job.completion_tokens:,} written{budget}",
        "cost": f"${job.cost_usd:.4f}{money}",
        "rate": f"{job.users_per_s:.2f} users/s",
        "time left": "–" if job.seconds_left is None else f"{job.seconds_left / 60:.0f} min",
        "workers": ", ".join(job.owners) or "none",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def cancel(reference: str) -> str:
    """One sentence."""
    job_id = refreshes.cancel_job(migrate_and_open(Settings()), reference)
    return f"refresh {job_id[:8]} is cancelled; workers stop at their next heartbeat, what they wrote is kept"


def resume(reference: str, budget_tokens: int | None, budget_usd: float | None) -> str:
    """One sentence."""
    engine = migrate_and_open(Settings())
    job_id = jobs.resume_job(engine, reference, budget_tokens=budget_tokens, budget_usd=budget_usd)
    return f"refresh {job_id[:8]} goes on"


def retry(reference: str) -> str:
    """One sentence."""
    n_chunks = jobs.retry_job(migrate_and_open(Settings()), reference)
    if not n_chunks:
        return f"nothing to try again: refresh {reference[:8]} has no dead letter and no user without a profile"
    return f"{n_chunks} chunk{'s are' if n_chunks > 1 else ' is'} tried again by the next worker that looks"


def show_dead(reference: str) -> None:
    """A row for each dead chunk, or a sentence where there is none."""
    letters = jobs.dead_letters(migrate_and_open(Settings()), reference)
    if not letters:
        Console().print(f"refresh {reference[:8]} has no dead letters", markup=False, highlight=False)
        return
    table = Table("chunk", "attempts", "users", "reason")
    for letter in letters:
        table.add_row(str(letter.position), str(letter.attempts), _some(letter.user_ids), letter.error)
    Console().print(table)


def _some(user_ids: tuple[str, ...]) -> str:
    more = ", …" if len(user_ids) > 3 else ""
    return f"{len(user_ids)} ({', '.join(user_ids[:3])}{more})"

"""What `retort refresh …` does."""

import signal
import threading
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from sqlalchemy import Engine

from offline.commands._opening import line_of, open_tables
from offline.config import parse_section
from offline.data.load import load_saved
from offline.data.split_store import load_split
from offline.embedded import running_redis
from offline.profiles.history import user_histories
from offline.refresh import jobs
from offline.refresh.jobs import JobStatus, RefreshError
from offline.refresh.leases import ALIVE
from offline.refresh.messages import START_TASK, schedule_starts, send_look, serve_refreshes
from offline.refresh.policy import RefreshPolicy
from offline.refresh.start import Refresh, start_refresh
from offline.refresh.work import RefreshWorker
from offline.tasks import make_app
from offline.terminal import TerminalProgress
from offline.worker import run_worker
from shared.errors import DataError, RecipeError, StoreError
from shared.settings import LanguageModelSettings, Settings

_LOOK_EVERY_S = 1.0
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
    settings = Settings()
    with TerminalProgress() as progress:
        line = line_of(reference, data, out, overrides, progress)
        loaded, split = load_saved(line.path("data")), load_split(line.path("split"))
        refresh = Refresh(
            line.context.recipe.name,
            lambda: user_histories(split, loaded.interactions),
            loaded.items,
            line.context.recipe.profiles,
            read_policy(policy, rules),
            _listed(users),
            *budget,
        )
        job_id = start_refresh(line.context.engine, refresh, out, line.context.language_model)
    redis_url = settings.redis_url or running_redis(settings.retort_home)
    if redis_url is not None:
        send_look(make_app(redis_url))
    return job_id


def read_policy(name: str, rules: list[str]) -> RefreshPolicy:
    """`--policy` and its `--rule key=value`."""
    raw: dict[str, Any] = {"name": name}
    for rule in rules:
        key, separator, value = rule.partition("=")
        if not separator:
            raise RecipeError(f"--rule {rule!r} is no key=value, such as min_new_events=10.")
        raw[key.strip()] = value.strip()
    return parse_section(RefreshPolicy, raw, "refresh policy")


def _listed(users: Path | None) -> frozenset[str] | None:
    if users is None:
        return None
    if not users.is_file():
        raise DataError(f"there is no file {users}; give one with a user_id a line.")
    found = frozenset(line.strip() for line in users.read_text(encoding="utf-8").splitlines() if line.strip())
    if not found:
        raise DataError(f"{users} names no user; write one user_id a line.")
    return found


def work_here(poll_s: float, *, celery: bool, until_done: bool) -> None:
    """Be a worker until told to stop; Ctrl-C and SIGTERM give the chunk back."""
    settings = Settings()
    console = Console(stderr=True)
    with RefreshWorker(open_tables(settings), LanguageModelSettings()) as worker:
        redis_url = settings.redis_url or running_redis(settings.retort_home)
        if until_done:
            console.print(f"{worker.work_on()} chunks done", highlight=False)
        elif celery and redis_url is not None:
            app = make_app(redis_url)
            _register_start(app)
            with serve_refreshes(app, worker, poll_s):
                run_worker(app, ["gpu-llm", "cpu"], log_level=settings.log_level)
        else:
            _poll(worker, poll_s)


def _poll(worker: RefreshWorker, poll_s: float) -> None:
    wake = threading.Event()

    def stop(*_: object) -> None:
        worker.stopping.set()
        wake.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker.work_forever(wake, poll_s)


def _register_start(app: Any) -> None:
    """What Celery beat sends for: a refresh by policy. One that is still at work, or has nobody due, is no failure."""

    @app.task(name=START_TASK)  # type: ignore[untyped-decorator]
    def start(what: dict[str, Any]) -> None:
        data = None if what["data"] is None else Path(what["data"])
        try:
            start_from_recipe(what["recipe"], data, Path(what["out"]), [], what["policy"], [], None)
        except RefreshError as error:
            Console(stderr=True).print(str(error), markup=False, highlight=False)


def run_schedule(reference: str, data: Path | None, out: Path, policy: str, every_hours: float) -> None:
    """Be Celery's beat until told to stop."""
    settings = Settings()
    redis_url = settings.redis_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("beat sends through Redis: set REDIS_URL, or let cron run `retort refresh start` instead.")
    read_policy(policy, [])
    app = make_app(redis_url)
    what = {
        "recipe": reference,
        "data": str(data.absolute()) if data else None,
        "out": str(out.absolute()),
        "policy": policy,
    }
    schedule_starts(app, every_hours * 3600, what)
    app.Beat(schedule=str(settings.retort_home / "beat-schedule"), loglevel=settings.log_level).run()


def show_status(reference: str | None, *, watch: bool) -> None:
    """One refresh, or the latest ones; `watch` until it ends."""
    engine, console = open_tables(Settings()), Console()
    if reference is None and not watch:
        console.print(_list_table(jobs.read_jobs(engine)))
        return
    reference = reference or _latest(engine)
    job = jobs.read_job(engine, reference)
    with Live(status_table(job), console=console, auto_refresh=False) as live:
        while watch and job.status in ALIVE:
            time.sleep(_LOOK_EVERY_S)
            job = jobs.read_job(engine, reference)
            live.update(status_table(job), refresh=True)
    for problem, count in jobs.user_problems(engine, reference).most_common(10):
        console.print(f"{count} users without a profile: {problem}", markup=False, highlight=False)
    if job.error:
        raise RefreshError(f"refresh {job.id[:8]}: {job.error}")


def _latest(engine: Engine) -> str:
    latest = jobs.read_jobs(engine, limit=1)
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
    job_id = jobs.cancel_job(open_tables(Settings()), reference)
    return f"refresh {job_id[:8]} is cancelled; workers stop at their next heartbeat, what they wrote is kept"


def resume(reference: str, budget_tokens: int | None, budget_usd: float | None) -> str:
    """One sentence."""
    engine = open_tables(Settings())
    job_id = jobs.resume_job(engine, reference, budget_tokens=budget_tokens, budget_usd=budget_usd)
    return f"refresh {job_id[:8]} goes on"


def retry(reference: str) -> str:
    """One sentence."""
    return f"{jobs.retry_job(open_tables(Settings()), reference)} chunks are tried again"


def show_dead(reference: str) -> None:
    """A row for each dead chunk."""
    table = Table("chunk", "attempts", "users", "reason")
    for letter in jobs.dead_letters(open_tables(Settings()), reference):
        first = ", ".join(letter.user_ids[:3])
        table.add_row(str(letter.position), str(letter.attempts), f"{len(letter.user_ids)} ({first}, …)", letter.error)
    Console().print(table)

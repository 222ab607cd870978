"""The `retort refresh` command group, part two: work on, inspect, cancel, resume and retry refreshes."""

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from retort.offline.cli._options import AsJson
from retort.offline.cli.refresh import Money, Tokens, refresh_app
from retort.offline.common.progress import describe_seconds
from retort.offline.common.terminal import print_json, show_rows

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from retort.offline.refresh.worker import RefreshWorker
    from retort.shared.profiles.refreshes import JobStatus

# the whole group: these commands are added to those of part one
app = refresh_app
_Job = Annotated[str, typer.Argument(help="a refresh's id, or the start of it")]
_POLL_S = 1.0
_JOB_FORMATS: dict[str, Callable[[Any], str]] = {
    "refresh": lambda job_id: job_id[:8],
    "users_done": "{:,}".format,
    "users": "{:,}".format,
    "tokens": "{:,}".format,
    "cost_usd": "{:.2f}".format,
}
_RETRY_MARGIN_S = 0.05  # a chunk that another worker is just acquiring is not polled without a pause


@refresh_app.command("work")
def work_command(
    poll_s: Annotated[float, typer.Option(help="seconds between two polls of the database")] = 15.0,
    celery: Annotated[bool, typer.Option(help="listen for wake-ups through REDIS_URL too")] = True,
    until_done: Annotated[bool, typer.Option("--until-done", help="end when no chunk can be leased any more")] = False,
) -> None:
    """Work on refreshes: one worker a GPU, on any number of machines."""
    if celery and not until_done:
        from retort.offline.cli.worker import work

        work(["gpu-llm"], poll_s)
    else:
        _work_without_celery(poll_s, until_done=until_done)


def _work_without_celery(poll_s: float, *, until_done: bool) -> None:
    """Work until Ctrl-C or SIGTERM, which give the current chunk back, or until nothing is left."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.refresh.requests import prepare_requested
    from retort.offline.refresh.worker import RefreshWorker
    from retort.shared.base.settings import LanguageModelSettings, Settings

    engine = migrate_and_open(Settings())
    with RefreshWorker(engine, LanguageModelSettings(), before_look=lambda: prepare_requested(engine)) as worker:
        if until_done:
            with _stopped_by_signals(worker):
                n_chunks = work_until_done(engine, worker)
            Console(stderr=True).print(f"{n_chunks} chunks done", highlight=False)
            stop_if_failed(engine, worker.job_ids)
        else:
            wake = threading.Event()
            with _stopped_by_signals(worker, wake):
                worker.work_forever(wake, poll_s)


def work_until_done(engine: "Engine", worker: "RefreshWorker") -> int:
    """Work until nothing is left, including chunks that are retried after a pause; returns the number of chunks."""
    from retort.offline.refresh.chunks import next_try_s

    n_chunks = worker.work_on()
    while (wait_s := next_try_s(engine)) is not None and not worker.stopping.wait(wait_s + _RETRY_MARGIN_S):
        n_chunks += worker.work_on()
    return n_chunks


def stop_if_failed(engine: "Engine", job_ids: Iterable[str]) -> None:
    """Raise RefreshError if one of these refreshes has failed or was stopped by its budget."""
    from retort.shared.profiles import refreshes

    for job in (refreshes.read_job(engine, job_id) for job_id in sorted(job_ids)):
        if job.error:
            raise refreshes.RefreshError(f"refresh {job.id[:8]} is {job.status}: {job.error}")


@contextmanager
def _stopped_by_signals(worker: "RefreshWorker", wake: threading.Event | None = None) -> Iterator[None]:
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


@refresh_app.command("status")
def status_command(
    job: Annotated[str | None, typer.Argument(help="one refresh; none: the latest")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="until it ends")] = False,
    as_json: AsJson = False,
) -> None:
    """Show progress, rate, tokens, cost and time left."""
    show_status(job, watch=watch, as_json=as_json)


@refresh_app.command("cancel")
def cancel_command(job: _Job) -> None:
    """Cancel a refresh; profiles that are written are kept."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.profiles import refreshes

    job_id = refreshes.cancel_job(migrate_and_open(Settings()), job)
    typer.echo(f"refresh {job_id[:8]} is cancelled; workers stop at their next heartbeat, written profiles are kept")


@refresh_app.command("resume")
def resume_command(job: _Job, budget_tokens: Tokens = None, budget_usd: Money = None) -> None:
    """Resume a refresh that was cancelled or has spent its budget."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.refresh import jobs
    from retort.shared.base.settings import Settings

    job_id = jobs.resume_job(migrate_and_open(Settings()), job, budget_tokens=budget_tokens, budget_usd=budget_usd)
    typer.echo(f"refresh {job_id[:8]} is resumed")


@refresh_app.command("retry")
def retry_command(job: _Job) -> None:
    """Retry dead letters and failed users."""
    typer.echo(retry(job))


@refresh_app.command("dead")
def dead_command(job: _Job, as_json: AsJson = False) -> None:
    """List the dead letters: chunks that failed for good, with reasons."""
    show_dead(job, as_json=as_json)


def show_status(reference: str | None, *, watch: bool, as_json: bool = False) -> None:
    """Print a refresh, or the latest ones; `watch`: until it ends. RefreshError if it failed."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.profiles import refreshes

    engine, console = migrate_and_open(Settings()), Console()
    if reference is None and not watch:
        empty = "There is no refresh; `retort refresh start RECIPE` starts one."
        rows = [_job_row(job) for job in refreshes.read_jobs(engine)]
        show_rows(rows, as_json=as_json, empty=empty, formats=_JOB_FORMATS)
        return
    reference = reference or _latest_id(engine)
    job = refreshes.read_job(engine, reference)
    if watch:
        job = _watch(engine, job, console, as_json=as_json)
    problems = refreshes.user_problems(engine, reference).most_common(10)
    if as_json:
        print_json({**_job_row(job), **_job_details(job), "users_without_profile": dict(problems)})
    elif not (watch and console.is_terminal):
        console.print(_status_table(job))
    for problem, count in () if as_json else problems:
        console.print(f"{count} users without a profile: {problem}", markup=False, highlight=False)
    if job.error:
        raise refreshes.RefreshError(f"refresh {job.id[:8]}: {job.error}")


def _watch(engine: "Engine", job: "JobStatus", console: Console, *, as_json: bool) -> "JobStatus":
    """Wait until the job ends; returns its last state. Only a terminal shows the states between."""
    from retort.shared.profiles import refreshes

    if as_json or not console.is_terminal:
        while job.status in refreshes.UNFINISHED:
            time.sleep(_POLL_S)
            job = refreshes.read_job(engine, job.id)
        return job
    with Live(_status_table(job), console=console, auto_refresh=False) as live:
        while job.status in refreshes.UNFINISHED:
            time.sleep(_POLL_S)
            job = refreshes.read_job(engine, job.id)
            live.update(_status_table(job), refresh=True)
    return job


def _latest_id(engine: "Engine") -> str:
    from retort.shared.profiles import refreshes

    latest = refreshes.read_jobs(engine, limit=1)
    if not latest:
        raise refreshes.RefreshError("there is no refresh; `retort refresh start RECIPE` starts one.")
    return latest[0].id


def _job_row(job: "JobStatus") -> dict[str, object]:
    return {
        "refresh": job.id,
        "recipe": job.name,
        "status": job.status,
        "users_done": job.users_done,
        "users": job.n_users,
        "tokens": job.prompt_tokens + job.completion_tokens,
        "cost_usd": job.cost_usd,
        "started": job.created_at,
        "error": job.error,
    }


def _job_details(job: "JobStatus") -> dict[str, object]:
    return {
        "chunks": job.chunks,
        "texts": {"written": job.written, "reused": job.reused, "failed": job.failed},
        "prompt_tokens": job.prompt_tokens,
        "completion_tokens": job.completion_tokens,
        "budget_tokens": job.budget_tokens,
        "budget_usd": job.budget_usd,
        "users_per_s": job.users_per_s,
        "seconds_left": job.seconds_left,
        "workers": list(job.owners),
        "result": job.result,
    }


def _status_table(job: "JobStatus") -> Table:
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
        "time left": "–" if job.seconds_left is None else describe_seconds(job.seconds_left),
        "workers": ", ".join(job.owners) or "none",
        **({} if job.result is None else {"result": job.result}),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def retry(reference: str) -> str:
    """Requeue a refresh's dead letters and failed users; returns a summary sentence."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.refresh import jobs
    from retort.shared.base.settings import Settings

    n_chunks = jobs.retry_job(migrate_and_open(Settings()), reference)
    if not n_chunks:
        return f"nothing to retry: refresh {reference[:8]} has no dead letter and no user without a profile"
    return f"{n_chunks} chunk{'s are' if n_chunks > 1 else ' is'} queued again"


def show_dead(reference: str, *, as_json: bool = False) -> None:
    """Print a row for each dead chunk, or a sentence where there is none."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.refresh import jobs
    from retort.shared.base.settings import Settings

    letters = jobs.dead_letters(migrate_and_open(Settings()), reference)
    rows = [
        {"chunk": letter.position, "attempts": letter.attempts, "users": letter.user_ids, "reason": letter.error}
        for letter in letters
    ]
    empty = f"refresh {reference[:8]} has no dead letters"
    show_rows(rows, as_json=as_json, empty=empty, formats={"users": _first_user_ids})


def _first_user_ids(user_ids: tuple[str, ...]) -> str:
    more = ", …" if len(user_ids) > 3 else ""
    return f"{len(user_ids)} ({', '.join(user_ids[:3])}{more})"

"""`retort refresh …`: profiles of very many users, by any number of workers."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Write or renew the profiles of very many users.", no_args_is_help=True)
_Job = Annotated[str, typer.Argument(help="a refresh's id, or the start of it")]
_Tokens = Annotated[int | None, typer.Option("--budget-tokens", help="stop when so many are used")]
_Money = Annotated[float | None, typer.Option("--budget-usd", help="stop when so much is spent; wants prices")]


@app.command()
def start(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe's name, or a .toml file")],
    data: Annotated[Path | None, typer.Option("--data", help="directory of the raw files")] = None,
    out: Annotated[Path, typer.Option("--out", help="run directory; workers need it at the same path")] = Path("runs"),
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value")] = None,
    policy: Annotated[str, typer.Option(help="all, schedule, events, drift or budgeted")] = "all",
    rule: Annotated[list[str] | None, typer.Option(help="a key of the policy: min_new_events=10")] = None,
    users: Annotated[Path | None, typer.Option(help="a file with one user_id a line; none: everybody")] = None,
    budget_tokens: _Tokens = None,
    budget_usd: _Money = None,
) -> None:
    """Write a refresh down and wake the workers; its id."""
    from retort.offline.cli.refresh_commands import start_from_recipe

    budget = (budget_tokens, budget_usd)
    typer.echo(start_from_recipe(recipe, data, out, overrides or [], policy, rule or [], users, budget))


@app.command()
def work(
    poll_s: Annotated[float, typer.Option(help="seconds between two looks into the database")] = 15.0,
    celery: Annotated[bool, typer.Option(help="be woken through REDIS_URL too")] = True,
    until_done: Annotated[bool, typer.Option("--until-done", help="leave when nothing can be taken any more")] = False,
) -> None:
    """Be a worker: one a GPU, on as many machines as there are."""
    if celery and not until_done:
        from retort.offline.cli.workers import work as work_by_celery

        work_by_celery(["gpu-llm"], poll_s)
    else:
        from retort.offline.cli.refresh_commands import work_here

        work_here(poll_s, until_done=until_done)


@app.command()
def status(
    job: Annotated[str | None, typer.Argument(help="one refresh; none: the latest")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="until it ends")] = False,
) -> None:
    """Progress, rate, tokens, cost and time left."""
    from retort.offline.cli.refresh_commands import show_status

    show_status(job, watch=watch)


@app.command()
def cancel(job: _Job) -> None:
    """Call it off; what was written is kept."""
    from retort.offline.cli.refresh_commands import cancel as act

    typer.echo(act(job))


@app.command()
def resume(job: _Job, budget_tokens: _Tokens = None, budget_usd: _Money = None) -> None:
    """Go on with one that was cancelled or has spent its budget."""
    from retort.offline.cli.refresh_commands import resume as act

    typer.echo(act(job, budget_tokens, budget_usd))


@app.command()
def retry(job: _Job) -> None:
    """Try dead letters and failed users again."""
    from retort.offline.cli.refresh_commands import retry as act

    typer.echo(act(job))


@app.command()
def dead(job: _Job) -> None:
    """What could not be done, and why."""
    from retort.offline.cli.refresh_commands import show_dead

    show_dead(job)


@app.command()
def schedule(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe's name, a .toml file, or `none`")],
    every_hours: Annotated[float, typer.Option(help="how often Celery beat starts one")] = 24.0,
    data: Annotated[Path | None, typer.Option("--data", help="directory of the raw files")] = None,
    out: Annotated[Path, typer.Option("--out", help="run directory")] = Path("runs"),
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value")] = None,
    policy: Annotated[str, typer.Option(help="all, schedule, events, drift or budgeted")] = "events",
    rule: Annotated[list[str] | None, typer.Option(help="a key of the policy: min_new_events=10")] = None,
) -> None:
    """Be Celery's beat: start a refresh again and again (a worker of the queue gpu-llm does what is due)."""
    from retort.offline.cli.refresh_commands import run_schedule

    run_schedule(recipe, data, out, overrides or [], policy, rule or [], every_hours)

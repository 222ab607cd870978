"""`retort profiles …`: batch files out and in, and what a person may do with their own profile; `retort plan`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Profiles as batch files, and one by one.", no_args_is_help=True)
_Recipe = Annotated[str, typer.Argument(help="a shipped recipe's name, or a .toml file")]
_Data = Annotated[Path | None, typer.Option("--data", help="directory of the raw files")]
_Out = Annotated[Path, typer.Option("--out", help="run directory")]
_Set = Annotated[list[str] | None, typer.Option("--set", help="section.key=value")]
_User = Annotated[str, typer.Argument(help="user_id")]
_Model = Annotated[str, typer.Option(help="name of the model that the service knows; stored beside each text")]
_Context = Annotated[int, typer.Option(help="prompt and answer together, in tokens")]


@app.command("export")
def export_prompts(
    recipe: _Recipe,
    to: Annotated[Path, typer.Option("--to", help="OpenAI Batch JSONL to write")],
    model: _Model,
    data: _Data = None,
    out: _Out = Path("runs"),
    overrides: _Set = None,
    context_tokens: _Context = 8192,
) -> None:
    """Write the prompts of all profiles that are missing as a batch file."""
    from retort.offline.cli.profile_commands import run_round

    typer.echo(run_round(recipe, data, out, overrides or [], [], to, model, context_tokens))


@app.command("import")
def import_results(
    recipe: _Recipe,
    results: Annotated[list[Path], typer.Argument(help="what the batch service wrote, of all rounds so far")],
    to: Annotated[Path, typer.Option("--to", help="where the next round's prompts go, if any are left")],
    model: _Model,
    data: _Data = None,
    out: _Out = Path("runs"),
    overrides: _Set = None,
    context_tokens: _Context = 8192,
) -> None:
    """Check and store what came back; what is not finished goes into the next batch file."""
    from retort.offline.cli.profile_commands import run_round

    typer.echo(run_round(recipe, data, out, overrides or [], results, to, model, context_tokens))


@app.command()
def show(user_id: _User) -> None:
    """Everything that is kept of a user's profile."""
    from retort.offline.cli.profile_commands import show_profile

    show_profile(user_id)


@app.command()
def edit(user_id: _User, text: Annotated[str, typer.Argument(help="the person's own words")]) -> None:
    """Put a person's own words in the place of the model's; they survive every refresh."""
    from retort.offline.cli.profile_commands import edit as act

    typer.echo(act(user_id, text))


@app.command()
def pin(user_id: _User) -> None:
    """Keep the text that is in force now."""
    from retort.offline.cli.profile_commands import pin as act

    typer.echo(act(user_id))


@app.command()
def erase(user_id: _User) -> None:
    """Delete every text of a user, and write none again."""
    from retort.offline.cli.profile_commands import erase as act

    typer.echo(act(user_id))


@app.command()
def release(user_id: _User) -> None:
    """Withdraw an edit, a pin or an erasure."""
    from retort.offline.cli.profile_commands import release as act

    typer.echo(act(user_id))


@app.command("publish-themes")
def publish_themes(
    recipe: _Recipe,
    data: _Data = None,
    out: _Out = Path("runs"),
    overrides: _Set = None,
    days: Annotated[int, typer.Option(min=1, help="days until they expire, unless written again")] = 90,
) -> None:
    """Leave a few theme words of each profile in serving's Redis; missing profiles are written first."""
    from retort.offline.cli.profile_commands import publish_themes as act

    typer.echo(act(recipe, data, out, overrides or [], days))


def plan(
    recipe: _Recipe,
    users: Annotated[int, typer.Option(help="how many users")],
    data: _Data = None,
    out: _Out = Path("runs"),
    overrides: _Set = None,
    answer_tokens: Annotated[float | None, typer.Option(help="mean length of a profile; none: of the stored")] = None,
    new_events_a_day: Annotated[float, typer.Option(help="mean events of a user")] = 0.5,
    width: Annotated[int | None, typer.Option(help="components of a stored vector; none: the recipe's map")] = None,
    input_price: Annotated[float, typer.Option(help="USD a million prompt tokens")] = 0.0,
    output_price: Annotated[float, typer.Option(help="USD a million answered tokens")] = 0.0,
    gpu_price: Annotated[float, typer.Option(help="USD a GPU hour")] = 0.0,
    gpus: Annotated[int, typer.Option(help="GPUs at work")] = 1,
    prompt_rate: Annotated[float | None, typer.Option(help="prompt tokens/s of a GPU; none: from the last job")] = None,
    answer_rate: Annotated[float | None, typer.Option(help="answer tokens/s of a GPU; none: from the last job")] = None,
    cached_share: Annotated[float, typer.Option(help="share of prompt tokens saved by prefix caching")] = 0.0,
    model: Annotated[str | None, typer.Option(help="calibrate by this model's profiles and jobs alone")] = None,
) -> None:
    """Tokens, GPU hours, money, storage and time of each refresh policy, for any number of users."""
    from retort.offline.cli.cost_commands import show_plan
    from retort.offline.refresh.cost import Prices

    prices = Prices(
        usd_per_million_input=input_price,
        usd_per_million_output=output_price,
        usd_per_gpu_hour=gpu_price,
        gpus=gpus,
        prompt_tokens_per_s=prompt_rate,
        answer_tokens_per_s=answer_rate,
        cached_share=cached_share,
    )
    show_plan(recipe, data, out, overrides or [], users, answer_tokens, new_events_a_day, width, prices, model)

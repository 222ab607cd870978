"""The commands about items: `items describe` and the group `items knowledge`; `items add` is in `bundles.py`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from retort.offline.cli._options import AsJson, DataDir, OutDir, Overrides, RecipeName
from retort.offline.cli.bundles import items_app
from retort.offline.common.terminal import TerminalProgress, show_rows
from retort.shared.base.errors import KnowledgeError, RecipeError
from retort.shared.base.ids import canonical_id

if TYPE_CHECKING:
    from retort.offline.common.progress import Progress
    from retort.offline.pipeline.context import RunContext
    from retort.offline.pipeline.dag import Pipeline
    from retort.shared.knowledge.item_knowledge import KnowledgeView

knowledge_app = typer.Typer(help="The knowledge of one item, and its texts as a file.", no_args_is_help=True)

_Item = Annotated[str, typer.Argument(help="item_id", callback=canonical_id)]
_SET_BY = "command line"


@items_app.command("describe")
def describe(
    recipe: RecipeName,
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="print the cost and stop")] = False,
    at: Annotated[
        list[int] | None, typer.Option(min=1, max=64, help="with --plan: items a request; may be repeated")
    ] = None,
    batch_to: Annotated[
        Path | None, typer.Option(help="write the missing prompts to this OpenAI Batch file, and call no server")
    ] = None,
    results: Annotated[
        list[Path] | None, typer.Option(help="with --batch-to: a result file of earlier rounds; may be repeated")
    ] = None,
    model: Annotated[str | None, typer.Option(help="with --batch-to: the model's name at the batch service")] = None,
    context_tokens: Annotated[
        int, typer.Option(help="with --batch-to: context length in tokens, prompt plus answer")
    ] = 8192,
) -> None:
    """Write what a language model knows of each item; a killed run goes on; only changed items are written again."""
    from retort.offline.knowledge.plan import ITEMS_A_CALL

    if at and not plan_only:
        raise KnowledgeError("--at requires --plan; without it, the model is called. Add --plan, or remove --at.")
    if (results or model) and batch_to is None:
        name = "--results" if results else "--model"
        raise KnowledgeError(f"{name} requires --batch-to, the file for the missing prompts; add it, or remove {name}.")
    with TerminalProgress() as progress:
        pipeline = _load(recipe, data, out, overrides or [], progress)
        config = pipeline.context.recipe.knowledge
        if config.generates:
            numbers = (at or [*ITEMS_A_CALL, config.items_per_call]) if plan_only else [config.items_per_call]
            _say_plans(pipeline, progress, sorted(set(numbers)))
        if plan_only:
            return
        if batch_to is not None:
            line = _run_round(pipeline, results or [], batch_to, model, context_tokens)
        else:
            line = _report_line(pipeline)
    typer.echo(line)


def _load(
    reference: str, data: Path | None, out: Path, overrides: list[str], progress: "Progress"
) -> "Pipeline[RunContext]":
    from retort.offline.pipeline.build import load_pipeline

    pipeline = load_pipeline(reference, data, out, overrides, progress)
    if not pipeline.context.recipe.knowledge.is_on:
        raise RecipeError(
            f"recipe {reference} has no [knowledge]; add it, or for example --set knowledge.backend=openai "
            "--set knowledge.domain=products."
        )
    return pipeline


def _say_plans(pipeline: "Pipeline[RunContext]", progress: "Progress", numbers: "Sequence[int]") -> None:
    """Say what describing all items costs, with each number of items a request.

    Tokens are those of the recipe's tokenizer, if it names one; else an estimate, rather too high.
    """
    from retort.offline.knowledge.describe import item_catalogue
    from retort.offline.knowledge.missing import read_standing
    from retort.offline.knowledge.plan import measured_answer_tokens, plan_description
    from retort.offline.knowledge.prompt import make_task
    from retort.offline.knowledge.store import KnowledgeStore
    from retort.offline.pipeline.context import load_tables
    from retort.offline.profiles.backends._tokens import estimate_tokens, load_token_counter

    config, items = pipeline.context.recipe.knowledge, load_tables(pipeline).items
    catalogue = item_catalogue(items, config)
    known = ((item_id, catalogue.facts(item_id)) for item_id in items.frame["item_id"])
    tasks = [make_task(item_id, facts) for item_id, facts in known if facts is not None]
    answer = measured_answer_tokens(pipeline.context.engine, config)
    tokenizer = config.options.get("tokenizer")
    count = estimate_tokens if tokenizer in (None, "server") else load_token_counter(str(tokenizer))
    for number in numbers:
        progress.say(plan_description(tasks, config, number, answer, count).sentence())
    standing = read_standing(items, config, KnowledgeStore(pipeline.context.engine), pipeline.context.language_model)
    if n_stored := standing.described + standing.unknown + standing.corrected:
        progress.say(f"{n_stored:,} of them have an answer already; only {len(standing.missing):,} are sent")


def _report_line(pipeline: "Pipeline[RunContext]") -> str:
    """Run the step; returns its report and where its texts are."""
    from retort.offline.knowledge.report import read_report
    from retort.offline.pipeline.context import KNOWLEDGE_FILE, KNOWLEDGE_STEP

    finished = pipeline.repeat_if_incomplete(KNOWLEDGE_STEP)
    again = " (nothing has changed since it was written)" if finished.skipped else ""
    return f"{read_report(finished.path).line()}\n{finished.path / KNOWLEDGE_FILE}{again}"


def _run_round(
    pipeline: "Pipeline[RunContext]", results: list[Path], target: Path, model: str | None, context_tokens: int
) -> str:
    """Run a round of batch files; returns a summary sentence."""
    from retort.offline.knowledge.batch_files import item_round
    from retort.offline.knowledge.store import KnowledgeStore
    from retort.offline.pipeline.context import load_tables

    context = pipeline.context
    if not context.recipe.knowledge.generates:
        raise RecipeError("[knowledge] backend = 'file' reads ready texts; choose openai to write prompts for a model.")
    in_recipe = context.recipe.knowledge.options.get("model")
    name = model or in_recipe
    if not name:
        raise KnowledgeError("--batch-to requires --model, the model's name at the batch service; add it.")
    if name != in_recipe:
        context.progress.say(
            f"texts are stored under the model {name!r}; set [knowledge.options] model to it, so that a run finds them"
        )
    done = item_round(
        load_tables(pipeline).items,
        context.recipe.knowledge,
        KnowledgeStore(context.engine),
        context.progress,
        model=str(name),
        results=results,
        target=target,
        context_tokens=context_tokens,
    )
    waiting = (
        f"{done.n_waiting} prompts are in {', '.join(map(str, done.files))}"
        if done.n_waiting
        else "no prompts are left"
    )
    return f"{done.report.line()}; {waiting}"


@knowledge_app.command("show")
def show(item_id: _Item) -> None:
    """Show the correction of an item, else its latest text, and every stored text and refused reply."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.knowledge.item_knowledge import view_knowledge

    console = Console()
    for line in _view_lines(view_knowledge(migrate_and_open(Settings()), item_id)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _view_lines(view: "KnowledgeView") -> list[str]:
    lines = []
    if view.correction is not None:
        what = "forbidden" if view.correction.text is None else "corrected"
        by = view.correction.set_by or "unknown"
        lines.append(f"{what} at {view.correction.set_at:%Y-%m-%d %H:%M} by {by}")
    lines.append(view.text or "(no text)")
    if view.is_empty:
        lines.append(
            f"The database has neither a text nor a correction of {view.item_id!r}. Texts of a file or of the items' "
            "own table are not stored there; `retort items knowledge export` writes them."
        )
    for version in view.versions:
        lines.append(f"{version.created_at:%Y-%m-%d %H:%M}  {version.model}  {version.text or '(unknown)'}")
    for refused in view.refusals:
        reply = f": {refused.reply}" if refused.reply else ""
        lines.append(f"{refused.created_at:%Y-%m-%d %H:%M}  {refused.model}  refused, {refused.error}{reply}")
    return lines


@knowledge_app.command("correct")
def correct(
    item_id: _Item,
    text: Annotated[str | None, typer.Option("--set", help="the text in force from now on")] = None,
    forbid: Annotated[bool, typer.Option("--forbid", help="the item may have no text")] = False,
    release: Annotated[bool, typer.Option("--release", help="withdraw the correction")] = False,
) -> None:
    """Correct or forbid the text of one item. It wins over every model and file, now and later."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.knowledge.item_knowledge import correct_knowledge, release_knowledge, view_knowledge

    if (text is not None) + forbid + release != 1:
        raise KnowledgeError("write one of --set TEXT, --forbid and --release.")
    engine = migrate_and_open(Settings())
    if release:
        done = release_knowledge(engine, item_id)
        typer.echo(f"the correction of {item_id} is withdrawn" if done else f"{item_id} has no correction")
        return
    is_new = view_knowledge(engine, item_id).is_empty
    correct_knowledge(engine, item_id, text, set_by=_SET_BY)
    note = "; no model has described an item of this id so far: check its spelling" if is_new else ""
    typer.echo((f"{item_id} may have no text" if forbid else f"the knowledge of {item_id} is the given text") + note)


@knowledge_app.command("report")
def report(
    recipe: RecipeName,
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    to: Annotated[Path | None, typer.Option("--to", help="also write the missing items to this CSV file")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how many items have a text, and how many are missing and why. No model is called."""
    from retort.offline.knowledge.missing import read_standing
    from retort.offline.knowledge.store import KnowledgeStore
    from retort.offline.pipeline.context import load_tables

    with TerminalProgress() as progress:
        context = (pipeline := _load(recipe, data, out, overrides or [], progress)).context
        if not context.recipe.knowledge.generates:
            typer.echo(_report_line(pipeline))
            return
        items, config = load_tables(pipeline).items, context.recipe.knowledge
        standing = read_standing(items, config, KnowledgeStore(context.engine), context.language_model)
    if to is not None:
        standing.write_missing(to)
    Console(stderr=as_json).print(standing.line(), highlight=False, soft_wrap=True)
    again = "asked about again" if config.retry_failed else "left as they are ([knowledge] retry_failed = false)"
    show_rows(
        standing.rows(),
        f"missing items; `retort items describe`, `retort run` and a refresh: refused ones are {again}",
        as_json=as_json,
        empty="No item is missing.",
    )


@knowledge_app.command("export")
def export(
    recipe: RecipeName,
    to: Annotated[
        Path, typer.Option("--to", help="JSON lines to write: item_id, knowledge, source, written_at, fields")
    ],
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
) -> None:
    """Write all texts of a recipe to a file, which `backend = "file"` reads."""
    import json

    import polars as pl

    from retort.offline.pipeline.context import KNOWLEDGE_FILE, KNOWLEDGE_STEP

    with TerminalProgress() as progress:
        pipeline = _load(recipe, data, out, overrides or [], progress)
        texts = pl.read_parquet(pipeline.complete(KNOWLEDGE_STEP).path / KNOWLEDGE_FILE)
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("w", encoding="utf-8") as file:
        for row in texts.iter_rows(named=True):
            row["fields"] = json.loads(row["fields"]) if row["fields"] else None
            known = {name: value for name, value in row.items() if value is not None}
            file.write(json.dumps(known, ensure_ascii=False) + "\n")
    typer.echo(f"{texts.height:,} texts are in {to}")

"""The commands `compare`, `evaluate`, `reproduce` and `ctr`: measurements of finished runs, of a server, of papers."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from retort.offline.cli._options import AsJson, DataDir, OutDir, Overrides, RecipeName
from retort.offline.common.terminal import TerminalProgress, format_value, print_json, show_rows
from retort.shared.base.errors import DataError, RecipeError

if TYPE_CHECKING:
    import polars as pl

    from retort.offline.ctr.train import Outcome
    from retort.offline.data.split import Split
    from retort.offline.evaluation.evaluate import EvaluationConfig
    from retort.offline.experiments.reproduce import Reproduced

_REPRODUCED_FORMATS: dict[str, Callable[[Any], str]] = {
    "comparable": lambda value: "–" if value is None else "yes" if value else "NOT COMPARABLE"
}
_CTR_FORMATS: dict[str, Callable[[Any], str]] = {
    "to_base": lambda value: format_value(value) if value is None else f"{value:+.4f}",
    "parameters": "{:,}".format,
}


def compare(
    a: Annotated[list[Path], typer.Argument(help="users.parquet of the baseline runs, one a seed")],
    b: Annotated[list[Path], typer.Option("--with", help="users.parquet of the variant's runs, one a seed")],
    metric: Annotated[str, typer.Option(help="hr, ndcg or mrr at a k")] = "ndcg@10",
    as_json: AsJson = False,
) -> None:
    """Compare two runs, paired by user, with a confidence interval."""
    from retort.offline.evaluation.compare import compare as compare_users

    compared = compare_users([_read_users(path) for path in a], [_read_users(path) for path in b], metric)
    if as_json:
        print_json({**asdict(compared), "significant": compared.significant})
    else:
        typer.echo(compared.sentence())


def _read_users(path: Path) -> "pl.DataFrame":
    """`users.parquet` of an evaluate step, or the directory that holds it."""
    import polars as pl

    file = path / "users.parquet" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"there is no {file}; name the users.parquet that the evaluate step of a run wrote.")
    try:
        frame = pl.read_parquet(file)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{file} is no readable Parquet file: {error}.") from error
    if missing := [name for name in ("user_id", "rank") if name not in frame.columns]:
        raise DataError(
            f"{file} has no column {missing[0]!r}; name the users.parquet that the evaluate step of a run wrote."
        )
    return frame


def evaluate(
    recipe: RecipeName,
    through: Annotated[str, typer.Option(help="URL of a running server, such as http://127.0.0.1:8000")],
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    by_events: Annotated[bool, typer.Option(help="post histories as events first, then request by user_id")] = False,
    api_key: Annotated[str | None, typer.Option(envvar="RETORT_API_KEY", help="where the server requires one")] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a running server on the recipe's test split, compared with the metrics in its bundle; trains nothing."""
    from retort.offline.data.split_store import load_split
    from retort.offline.evaluation.evaluate import count_seen_targets, seen_targets_sentence, summarise
    from retort.offline.evaluation.evaluate import evaluate as evaluate_ranker
    from retort.offline.evaluation.server_eval import ServerRanker
    from retort.offline.pipeline.build import load_pipeline
    from retort.offline.pipeline.context import evaluated_split_step

    with TerminalProgress() as progress, ExitStack() as opened:
        pipeline = load_pipeline(recipe, data, out, overrides or [], progress)
        split, config = (
            load_split(pipeline.ensure_path(evaluated_split_step(pipeline))),
            pipeline.context.recipe.evaluation,
        )
        ranker = opened.enter_context(ServerRanker(through, split.item_index, by_events=by_events, api_key=api_key))
        sealed = ranker.sealed_metrics
        _check_same_protocol(sealed, split, config, recipe)
        evaluation = evaluate_ranker(ranker, split.test, config, progress, "requests to the server")
    served = summarise(evaluation, config, len(split.item_index))
    rows = [
        {"metric": metric, "offline": sealed["test"].get(metric), "server": served[metric]}
        for metric in ("hr@10", "ndcg@10", "mrr@10", "hr@20", "ndcg@20")
        if metric in served
    ]
    show_rows(rows, f"{recipe}: {len(split.test)} cases at {through}", as_json=as_json)
    if config.hide_seen and (sentence := seen_targets_sentence(count_seen_targets(split.test), len(split.test))):
        Console(stderr=as_json).print(sentence, markup=False, highlight=False)


def _check_same_protocol(sealed: dict[str, Any], split: "Split", config: "EvaluationConfig", reference: str) -> None:
    """Raise DataError unless the bundle was evaluated with the recipe's protocol, cases, seen and last items."""
    expected = {
        "protocol": split.protocol,
        "cases": len(split.test),
        "seen_hidden": config.hide_seen,
        "last_items": config.last_items,
    }
    if different := [key for key, value in expected.items() if sealed.get(key) != value]:
        key = different[0]
        raise DataError(
            f"the served bundle was evaluated with {key} = {sealed.get(key)}, but {reference} has {expected[key]}; "
            "name the recipe and the data that the bundle was made from."
        )


def reproduce(
    paper: Annotated[str, typer.Argument(help="ecir26, llmkt, dllm2rec or llmd4rec")],
    data: DataDir = None,
    dataset: Annotated[str | None, typer.Option(help="the paper's data set that is in --data")] = None,
    out: OutDir = Path("runs"),
    modes: Annotated[str, typer.Option(help="any of plain,faithful,repaired")] = "plain,faithful,repaired",
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Run a paper's recipes on its data, and compare its published numbers with ours."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.experiments.reproduce import MODES, rows_of
    from retort.offline.experiments.reproduce import reproduce as reproduce_row
    from retort.offline.pipeline.build import make_pipeline
    from retort.offline.pipeline.context import make_context
    from retort.offline.pipeline.preflight import check_needs
    from retort.shared.base.settings import Settings

    chosen = [mode for mode in MODES if mode in [name.strip() for name in modes.split(",")]]
    if not chosen:
        raise RecipeError(f"--modes {modes!r} names none of: {', '.join(MODES)}.")
    rows = rows_of(paper, dataset, chosen, overrides or [])
    if not rows:
        raise RecipeError(f"no recipe of {paper} is shipped with this version.")
    if dataset is None and len({row.dataset for row in rows}) > 1:
        names = ", ".join(dict.fromkeys(row.dataset for row in rows))
        raise RecipeError(f"{paper} has several data sets ({names}); name the one in --data with --dataset.")
    engine = migrate_and_open(Settings())
    results = []
    with TerminalProgress() as progress:
        contexts = [make_context(row.recipe, data, engine, progress) for row in rows]
        check_needs(make_pipeline(context, out) for context in contexts)
        for row, context in zip(rows, contexts, strict=True):
            progress.say(f"── {row.recipe.name}")
            results.append(reproduce_row(row, context, out))
    show_rows(
        reproduced_rows(results), f"{paper}, published and reproduced", as_json=as_json, formats=_REPRODUCED_FORMATS
    )
    for line in reproduced_notes(results):
        Console(stderr=as_json).print(line, markup=False, highlight=False, soft_wrap=True)


def reproduced_rows(results: "list[Reproduced]") -> list[dict[str, object]]:
    """A row for each run and metric: published value, ours, and whether the two are comparable (None: no value)."""
    rows: list[dict[str, object]] = []
    for result in results:
        row = result.row
        for metric in row.published.values or ("hr@10", "ndcg@10"):
            value = row.published.values.get(metric)
            values = {"published": value, "ours": result.measured.get(metric)}
            comparable = None if value is None else not result.mismatches
            named = {"recipe": row.recipe.name, "student": row.student, "mode": row.mode, "metric": metric}
            rows.append({**named, **values, "comparable": comparable})
    return rows


def reproduced_notes(results: "list[Reproduced]") -> list[str]:
    """Sentences below the table: why numbers are not comparable, what the paper does not state, what recipes change."""
    lines: list[str] = []
    for result in results:
        name = f"{result.row.dataset}, {result.row.student}"
        if not result.row.published.values:
            lines.append(f"The paper has no row for {name}.")
            continue
        if result.mismatches:
            lines.append(f"NOT COMPARABLE ({name}): {'; '.join(result.mismatches)}.")
        if result.unknown:
            lines.append(f"Not stated by the paper ({name}): {', '.join(result.unknown)}.")
        lines += [f"The recipe differs ({name}): {difference}." for difference in result.row.published.differences]
    return list(dict.fromkeys(lines))


def ctr(
    file: Annotated[str, typer.Argument(help="a shipped comparison (ml1m), or a .toml file with a section ctr")],
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Compare DeepFM and DCN-v2 with profiles as input (KAR) and as training target (LLM-KT) by AUC; offline only."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.ctr.run import compare_models, read_ctr_file
    from retort.offline.recipes.recipe_files import parse_override
    from retort.shared.base.settings import Settings

    recipe, config = read_ctr_file(file, dict(parse_override(override) for override in overrides or []))
    engine = migrate_and_open(Settings())
    directory = data.absolute() if data else None
    with TerminalProgress() as progress:
        outcomes = compare_models(recipe, config, directory, engine, progress, out)
    n_seeds = len({outcome.seed for outcome in outcomes})
    show_rows(ctr_rows(outcomes), f"test, mean of {n_seeds} seeds", as_json=as_json, formats=_CTR_FORMATS)


def ctr_rows(outcomes: "list[Outcome]") -> list[dict[str, object]]:
    """A row for each arm, compared with its model's base, paired by seed; ± is half of the 95 % interval over seeds."""
    from retort.offline.evaluation.compare import interval

    by_arm: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        by_arm.setdefault((outcome.model, outcome.arm), []).append(outcome)
    rows: list[dict[str, object]] = []
    for (model, arm), of_arm in by_arm.items():
        base = {outcome.seed: outcome.auc for outcome in by_arm.get((model, "base"), [])}
        gains = [outcome.auc - base[outcome.seed] for outcome in of_arm if outcome.seed in base]
        auc, auc_half = interval([outcome.auc for outcome in of_arm])
        gain, gain_half = interval(gains) if gains else (None, None)
        log_loss, _ = interval([outcome.log_loss for outcome in of_arm])
        values = {"auc": auc, "auc_±": auc_half, "to_base": gain, "to_base_±": gain_half, "log_loss": log_loss}
        rows.append({"model": model, "arm": arm, **values, "parameters": of_arm[0].n_parameters})
    return rows

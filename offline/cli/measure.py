"""`retort compare` and `retort evaluate --through URL`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from retort.offline.common.terminal import TerminalProgress
from retort.offline.data.split import Split
from retort.offline.data.split_store import load_split
from retort.offline.evaluation.compare import compare
from retort.offline.evaluation.evaluate import evaluate, summarise
from retort.offline.evaluation.server_eval import ServerRanker
from retort.offline.pipeline.build import load_pipeline
from retort.offline.pipeline.context import evaluated_split_step
from retort.shared.base.errors import DataError


def compare_runs(a: list[Path], b: list[Path], metric: str) -> str:
    """The verdict in one sentence."""
    return compare([_read(path) for path in a], [_read(path) for path in b], metric).sentence()


def _read(path: Path) -> pl.DataFrame:
    """`users.parquet` of an evaluate step, or the directory that holds it."""
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


def evaluate_through(
    reference: str,
    url: str,
    data: Path | None,
    out: Path,
    overrides: list[str],
    *,
    by_events: bool,
    api_key: str | None,
) -> None:
    """Ask the recipe's test of a server; print what came beside what its bundle was sealed with. Nothing is trained."""
    with TerminalProgress() as progress, ExitStack() as opened:
        pipeline = load_pipeline(reference, data, out, overrides, progress)
        split, config = (
            load_split(pipeline.ensure_path(evaluated_split_step(pipeline))),
            pipeline.context.recipe.evaluation,
        )
        ranker = opened.enter_context(ServerRanker(url, split.item_index, by_events=by_events, api_key=api_key))
        sealed = ranker.sealed()
        _check_same_question(sealed, split, config.hide_seen, reference)
        evaluation = evaluate(ranker, split.test, config, progress, "asking the server")
    served = summarise(evaluation, config, len(split.item_index))
    table = Table("metric", "offline", "through HTTP", title=f"{reference}: {len(split.test)} cases at {url}")
    for metric in ("hr@10", "ndcg@10", "mrr@10", "hr@20", "ndcg@20"):
        if metric in served:
            offline = sealed["test"].get(metric)
            table.add_row(metric, "–" if offline is None else f"{offline:.4f}", f"{served[metric]:.4f}")
    Console().print(table)


def _check_same_question(sealed: dict[str, Any], split: Split, hide_seen: bool, reference: str) -> None:
    """The bundle was measured by the recipe's own protocol, cases and hiding; DataError otherwise."""
    asked = {"protocol": split.protocol, "cases": len(split.test), "seen_hidden": hide_seen}
    if odd := [key for key, value in asked.items() if sealed.get(key) != value]:
        raise DataError(
            f"the bundle that serves was measured with {odd[0]} = {sealed.get(odd[0])}, but {reference} asks with "
            f"{asked[odd[0]]}; name the recipe and the data that the bundle was made from."
        )

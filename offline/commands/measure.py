"""`retort compare` and `retort evaluate --through URL`."""

from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from offline.commands._opening import line_of
from offline.data.split_store import load_split
from offline.evaluation.compare import compare
from offline.evaluation.evaluate import evaluate, summarise
from offline.evaluation.through import ServerRanker
from offline.pipeline import asked_split, outcome_of
from offline.terminal import TerminalProgress
from shared.errors import DataError


def compare_runs(a: list[Path], b: list[Path], metric: str) -> str:
    """The verdict in one sentence."""
    return compare([_read(path) for path in a], [_read(path) for path in b], metric).sentence()


def _read(path: Path) -> pl.DataFrame:
    """`users.parquet` of an evaluate step, or the directory that holds it."""
    file = path / "users.parquet" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"there is no {file}; name the users.parquet that the evaluate step of a run wrote.")
    return pl.read_parquet(file)


def evaluate_through(
    reference: str, url: str, data: Path | None, out: Path, overrides: list[str], *, by_events: bool
) -> None:
    """Ask the test of a finished run over HTTP; print its metrics beside those that the run measured itself."""
    with TerminalProgress() as progress:
        line = line_of(reference, data, out, overrides, progress)
        measured = outcome_of(line)
        split, config = load_split(line.path(asked_split(line))), line.context.recipe.evaluation
        with ServerRanker(url, split.item_index, by_events=by_events) as ranker:
            evaluation = evaluate(ranker, split.test, config, progress, "asking the server")
    served = summarise(evaluation, config, len(split.item_index))
    table = Table("metric", "offline", "through HTTP", title=f"{reference}: {len(split.test)} cases at {url}")
    for metric in ("hr@10", "ndcg@10", "mrr@10", "hr@20", "ndcg@20"):
        if metric in served:
            table.add_row(metric, f"{measured.test[metric]:.4f}", f"{served[metric]:.4f}")
    Console().print(table)

"""What the quickstart says about its trainings: short histories, the time budget, few test cases."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import polars as pl
import pytest

from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Silent
from retort.offline.pipeline.context import TRAINING_FILE
from retort.offline.quickstart.recipe_file import data_section
from retort.offline.quickstart.recognised import recognise
from retort.offline.quickstart.train import Arm, measure, notes
from retort.shared.base.errors import DataError
from retort.shared.base.settings import Settings


def arm(
    path: Path,
    name: str,
    epochs: int,
    best: int,
    cases: int = 500,
    max_minutes: float | None = 1.0,
    ndcg: float = 0.3,
    share: float = 1.0,
) -> Arm:
    """An arm whose files say so many epochs."""
    folder = path / name
    folder.mkdir()
    log = [{"epoch": number + 1, "share": share} for number in range(epochs)]
    (folder / TRAINING_FILE).write_bytes(orjson.dumps({"best_epoch": best, "log": log}))
    pl.DataFrame({"rank": range(cases)}).write_parquet(folder / "users.parquet")
    training = SimpleNamespace(epochs=60, patience=3, evaluate_every=1, max_minutes=max_minutes)
    context = SimpleNamespace(recipe=SimpleNamespace(training=training))
    pipeline: Any = SimpleNamespace(context=context, ensure_path=lambda step: folder)
    outcome: Any = SimpleNamespace(
        per_user=folder / "users.parquet", test={"ndcg@10": ndcg}, baselines={"popularity": {"ndcg@10": 0.2}}
    )
    return Arm(name, pipeline, outcome)


def test_a_training_that_the_budget_ended_is_told_from_early_stopping(tmp_path: Path) -> None:
    plain = arm(tmp_path, "plain", epochs=9, best=6)
    texts = arm(tmp_path, "with texts", epochs=4, best=4)
    assert (plain.was_cut, texts.was_cut) == (False, True)
    (note,) = notes([plain, texts])
    assert "ended the training of 'with texts' after epoch 4: the comparison favours" in note
    assert arm(tmp_path, "large", epochs=1, best=1, share=0.25).reached == "25% of the first epoch"
    assert not arm(tmp_path, "all", epochs=60, best=60).was_cut
    assert not arm(tmp_path, "no budget", epochs=4, best=4, max_minutes=None).was_cut


def test_few_test_cases_are_reported(tmp_path: Path) -> None:
    (note,) = notes([arm(tmp_path, "plain", epochs=9, best=6, cases=12)])
    assert note.startswith("There are only 12 test cases")


def test_students_below_popularity_are_reported(tmp_path: Path) -> None:
    (note,) = notes([arm(tmp_path, "plain", epochs=9, best=6, ndcg=0.1)])
    assert note.startswith("No student is better than popularity")
    arms = [arm(tmp_path, name, epochs=9, best=6, ndcg=ndcg) for name, ndcg in (("a", 0.1), ("b", 0.25))]
    assert notes(arms) == []


def test_users_with_two_events_are_refused_before_a_recipe_is_written(tmp_path: Path) -> None:
    lines = [f"u{n % 30},i{n % 7},{1_700_000_000 + n}" for n in range(60)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines]))
    engine = migrate_and_open(cast(Settings, SimpleNamespace(database=f"sqlite:///{tmp_path}/retort.db")))
    with pytest.raises(DataError, match=r"no user has 3 events \(30 users have 60\)"):
        measure(data_section(recognise(tmp_path / "log.csv", None)), tmp_path, engine, tmp_path / "runs", Silent())

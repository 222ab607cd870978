"""The promotion gate: a worse challenger is refused, and a forced promotion is recorded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retort.offline.cli.bundles import list_changes, list_models, promote_bundle, publish_bundle
from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Cases, Split
from retort.offline.data.split_store import save_split
from retort.shared.db.session import open_database
from retort.shared.model import registry
from retort.shared.model.bundle import open_bundle
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.registry import RegistryError
from tests.serving._graphs import make_bundle

USERS = [f"{n:024x}" for n in range(200)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path / "home"


def ranks(rank: int) -> dict[str, int]:
    return {user: rank if place % 2 else 0 for place, user in enumerate(USERS)}


def changes(home: Path) -> list[registry.Change]:
    engine = open_database(f"sqlite:///{home.absolute() / 'retort.db'}")
    try:
        return registry.changes(engine)
    finally:
        engine.dispose()


def test_a_worse_challenger_is_refused_and_an_equal_or_better_one_passes(tmp_path: Path, home: Path) -> None:
    good, worse, better = (
        make_bundle(tmp_path, seed=seed, ranks=ranks(rank)) for seed, rank in ((1, 2), (2, 9), (3, 1))
    )
    assert "champion" in publish_bundle(good, None), "the first bundle has no champion to be compared with"
    with pytest.raises(RegistryError, match=r"champion is not moved.*ndcg@10.*--force"):
        publish_bundle(worse, "champion")
    assert changes(home)[0].bundle_id == good.name
    assert "challenger" in publish_bundle(worse, "challenger"), "an alias of its own"
    summary = publish_bundle(better, "champion")
    assert "ndcg@10" in summary
    assert "champion" in summary
    assert not changes(home)[0].forced


@pytest.mark.parametrize(
    ("name", "report", "better", "message"),
    [
        (
            "retrieval",
            {"retrieval": "two_stage", "agreement@10": 0.9984, "required": 0.999},
            0.9996,
            r"99\.84% of the first ten, and 99\.9% are required.*\[export\] retrieval",
        ),
        (
            "parity",
            {"precision": "int8", "agreement@10": 0.981, "required": 0.99},
            0.994,
            r"int8 agree with fp32 on 98\.10%.*99\.0% are required.*\[export\] precision",
        ),
    ],
)
def test_a_challenger_whose_graph_agrees_too_little_is_refused(
    name: str, report: dict[str, Any], better: float, message: str, tmp_path: Path
) -> None:
    lossy: dict[str, Any] = {name: report}
    kept: dict[str, Any] = {name: report | {"agreement@10": better}}
    publish_bundle(make_bundle(tmp_path, seed=1, ranks=ranks(2)), None)
    with pytest.raises(RegistryError, match=message):
        publish_bundle(make_bundle(tmp_path, seed=2, ranks=ranks(2), **lossy), "champion")
    assert "champion" in publish_bundle(make_bundle(tmp_path, seed=3, ranks=ranks(2), **kept), "champion")


def test_force_requires_a_reason_and_is_recorded(tmp_path: Path, home: Path) -> None:
    good, worse = (make_bundle(tmp_path, seed=seed, ranks=ranks(rank)) for seed, rank in ((1, 2), (2, 9)))
    publish_bundle(good, None)
    publish_bundle(worse, None)
    with pytest.raises(RegistryError, match="--because"):
        promote_bundle(worse.name, "champion", force=True)
    assert "by force" in promote_bundle(worse.name, "champion", force=True, because="the old one leaks")
    latest = changes(home)[0]
    assert (latest.bundle_id, latest.forced) == (worse.name, True)
    assert latest.set_by
    assert str(latest.reason).startswith("the old one leaks | ndcg@10")


def test_bundles_with_different_tests_are_compared_on_a_given_split(tmp_path: Path) -> None:
    good = make_bundle(tmp_path, seed=1, ranks=ranks(2))
    newer = make_bundle(tmp_path, seed=2, ranks=ranks(2), data_hash="e" * 64)
    publish_bundle(good, None)
    with pytest.raises(RegistryError, match="different tests"):
        publish_bundle(newer, "champion")
    split = split_that_suits(newer, tmp_path / "split")
    assert "ndcg@10" in promote_bundle(newer.name, "champion", cases=split)
    with pytest.raises(RegistryError, match="is not moved: ndcg@10"):
        promote_bundle(good.name, "champion", cases=split)


def test_lists_shorter_than_the_metrics_k_are_not_compared(tmp_path: Path) -> None:
    """Ranks below a list's end are not known: they would count as misses of the one and hits of the other."""
    short = make_bundle(tmp_path, seed=1, ranks=ranks(0), evaluation={"k": [5]})
    long = make_bundle(tmp_path, seed=2, ranks=ranks(9), evaluation={"k": [10]})
    publish_bundle(short, None)
    with pytest.raises(RegistryError, match=r"5 places.*ndcg@10.*--cases"):
        publish_bundle(long, "champion")
    assert "ndcg@5" in promote_bundle(long.name, "champion", metric="ndcg@5")


def test_students_with_different_histories_are_not_compared(tmp_path: Path) -> None:
    whole = make_bundle(tmp_path, seed=1, ranks=ranks(2))
    cut = make_bundle(tmp_path, seed=2, ranks=ranks(1), evaluation={"k": [10, 5, 20], "last_items": 3})
    publish_bundle(whole, None)
    with pytest.raises(RegistryError, match="different tests"):
        publish_bundle(cut, "champion")


def split_that_suits(bundle: Path, directory: Path) -> Path:
    """A split whose test items are what this bundle ranks first; its index is in an order of its own."""
    opened = open_bundle(bundle)
    scorer, own = opened.scorer(), opened.item_index
    theirs = ItemIndex([*reversed(own.ids), "an item of newer data"])
    histories, targets = [], []
    for n in range(40):
        history = np.random.default_rng(n).permutation(60)[:5] + 1
        best = scorer.top_k([history], 1).items_BK[0, 0]
        histories.append(theirs.indexes(own.id(int(item)) for item in history))
        targets.append(theirs.index(own.id(int(best))))
    ragged = Ragged.of(histories)
    cases = Cases(np.arange(40), ragged, np.array(targets, dtype=np.int64))
    save_split(Split("held", tuple(f"u{n}" for n in range(40)), theirs, ragged, None, cases), directory)
    return directory


def test_an_unreadable_champion_is_replaced_only_by_force(tmp_path: Path, home: Path) -> None:
    good, other = (make_bundle(tmp_path, seed=seed, ranks=ranks(2)) for seed in (1, 2))
    publish_bundle(good, None)
    publish_bundle(other, None)
    (home / "bundles" / good.name / "model.onnx").write_bytes(b"")
    with pytest.raises(RegistryError, match="could not be compared"):
        promote_bundle(other.name, "champion")
    assert "by force" in promote_bundle(other.name, "champion", force=True, because="the disk ate it")


def test_ids_are_not_truncated_in_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = make_bundle(tmp_path, seed=1, ranks=ranks(2))
    publish_bundle(bundle, "an-alias-as-long-as-a-team-may-like-it")
    list_models()
    list_changes()
    models, _, changed = capsys.readouterr().out.partition("when")
    for listed in (models, changed):
        assert bundle.name in listed
        assert "an-alias-as-long-as-a-team-may-like-it" in listed

"""Events in several parts and blocks are filtered and split as they are in one."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data import event_arrays, event_parts, events, load, ragged
from retort.offline.data.load import DataConfig, load_data
from retort.offline.data.split import SplitConfig, make_split
from retort.offline.data.split_store import load_split, save_split
from retort.offline.data.tables import load_saved, save_loaded


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A log of three Parquet files, in the order of time: ties, repeats, a robot, rare users and items, bad rows."""
    random = np.random.default_rng(5)
    n = 3000
    frame = pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in random.zipf(1.4, n).clip(max=150)],
            "item_id": [f"i{item}" for item in random.zipf(1.3, n).clip(max=80)],
            "timestamp": np.sort(1_600_000_000 + 600 * random.integers(0, n, n)),
            "weight": random.integers(1, 6, n).astype(float),
        }
    ).with_columns(item_id=pl.when(pl.int_range(pl.len()) % 500 == 7).then(pl.lit(None)).otherwise("item_id"))
    folder = tmp_path / "raw" / "log"
    folder.mkdir(parents=True)
    for number in range(3):
        frame[1000 * number : 1000 * (number + 1)].write_parquet(folder / f"part-{number}.parquet")
    return tmp_path / "raw"


def config(**data: object) -> DataConfig:
    options = {"interactions": "log", "timestamp": "timestamp", "weight": "weight"}
    return DataConfig.model_validate({"options": options, **data})


@pytest.mark.parametrize(
    "data",
    [
        {"k_core": 3},
        {"k_core": 3, "repeats": "last", "min_weight": 2},
        {"repeats": "first", "max_user_events": 20, "max_day_events": 12},
        {"k_core": 2, "sample_users": 40, "repeats": "keep"},
    ],
    ids=lambda data: "-".join(data),
)
@pytest.mark.parametrize("method", ["leave_one_out", "global_time"])
def test_parts_change_nothing(
    data: dict[str, object], method: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_data(config(**data), raw, Silent())
    split = make_split(whole.interactions, SplitConfig.model_validate({"method": method}), "held")
    monkeypatch.setattr(events.EventReader.__init__, "__defaults__", (170,))
    monkeypatch.setattr(event_parts.read_parts, "__defaults__", (200,))
    monkeypatch.setattr(event_arrays, "_BLOCK_EVENTS", 150)
    monkeypatch.setattr(ragged, "_MAPPED_FROM_BYTES", 1)
    work = tmp_path / "work"
    save_loaded(load_data(config(**data), raw, Silent(), work), work)
    assert not (work / load._PARTS).exists()
    parts = load_saved(work)
    assert len(list(parts.interactions.parts())) > 3
    assert parts.interactions.frame.equals(whole.interactions.frame)
    assert parts.report == whole.report
    assert parts.rejects.equals(whole.rejects)
    again = make_split(parts.interactions, SplitConfig.model_validate({"method": method}), "held", work)
    save_split(again, work)
    for found in (again, load_split(work)):
        assert found.user_ids == split.user_ids
        assert found.item_index.ids == split.item_index.ids
        assert found.validation is not None
        assert split.validation is not None
        for one, other in (
            (found.train, split.train),
            (found.test.histories, split.test.histories),
            (found.validation.histories, split.validation.histories),
        ):
            np.testing.assert_array_equal(one.values, other.values)
            np.testing.assert_array_equal(one.offsets, other.offsets)
        np.testing.assert_array_equal(found.test.users, split.test.users)
        np.testing.assert_array_equal(found.test.targets, split.test.targets)
        np.testing.assert_array_equal(found.validation.targets, split.validation.targets)

"""The synthetic world: seeded, streamed, with order and text that predict the next item."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.load import DataConfig, load_data
from retort.offline.data.sources.synthetic import MADE_UP, Config, write_knowledge, write_world
from retort.offline.data.split import Split, SplitConfig, make_split, train_popularity
from retort.offline.data.tables import Loaded


@pytest.fixture(scope="module")
def demo() -> Loaded:
    return load_data(DataConfig(source="synthetic"), None, Silent())


@pytest.fixture(scope="module")
def split(demo: Loaded) -> Split:
    return make_split(demo.interactions, SplitConfig(), "refit")


def popularity_hit_rate(split: Split) -> float:
    """HR@10, seen items hidden."""
    order, hits = np.argsort(-train_popularity(split), kind="stable"), 0
    for history, target in zip(split.test.histories, split.test.targets, strict=True):
        seen = {0, *history.tolist()}
        best = [item for item in order[: len(seen) + 10] if item not in seen][:10]
        hits += int(target) in best
    return hits / len(split.test)


def test_size_and_clock_are_as_configured(demo: Loaded) -> None:
    report = demo.report
    assert (report.users, report.clock) == (2000, "time")
    assert report.items > 990
    assert 22 < report.mean_length < 28
    assert report.first >= "2023-01-01"
    assert report.last < "2025-01-01"
    assert report.removed.repeats == 0
    assert demo.items.frame["title"].is_unique().all()


def test_popularity_says_little_and_the_last_item_much(split: Split) -> None:
    assert 0.025 < popularity_hit_rate(split) < 0.055
    follows: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for row in split.train:
        for one, after in zip(row[:-1].tolist(), row[1:].tolist(), strict=True):
            follows[one][after] += 1
    hits = 0
    for history, target in zip(split.test.histories, split.test.targets, strict=True):
        seen = set(history.tolist())
        best = [item for item, _ in follows[int(history[-1])].most_common() if item not in seen][:10]
        hits += int(target) in best
    assert 0.1 < hits / len(split.test) < 0.35


def test_text_tells_taste_and_what_follows(demo: Loaded, split: Split) -> None:
    about = {row["item_id"]: row for row in demo.items.frame.iter_rows(named=True)}
    ids = [None, *split.item_index.ids]
    same_mood, next_part, n_parts = 0, 0, 0
    for history, target in zip(split.test.histories, split.test.targets, strict=True):
        moods = Counter(about[ids[int(item)]]["mood"] for item in history)
        last, taken = about[ids[int(history[-1])]], about[ids[int(target)]]
        same_mood += moods.most_common(1)[0][0] == taken["mood"]
        if last["series"] is not None:
            n_parts += 1
            next_part += last["series"] == taken["series"] and taken["part"] == last["part"] + 1
    # six moods and hundreds of series: chance would be near .17 and .01
    assert same_mood / len(split.test) > 0.25
    assert next_part / n_parts > 0.1


def test_drift_changes_the_themes_of_those_who_drift(demo: Loaded) -> None:
    assert demo.users is not None
    themes = demo.interactions.frame.join(
        demo.items.frame.select("item_id", theme=pl.col("motifs").list.first()), on="item_id"
    )
    place = pl.int_range(pl.len()).over("user_id") / pl.len().over("user_id")
    halves = themes.with_columns(late=place >= 0.5).group_by("user_id", "late").agg("theme")
    pairs = halves.filter("late").join(halves.filter(~pl.col("late")), on="user_id").join(demo.users, on="user_id")
    overlap = {True: [], False: []}
    for row in pairs.iter_rows(named=True):
        one, other = Counter(row["theme"]), Counter(row["theme_right"])
        overlap[row["drifts"]].append((one & other).total() / min(one.total(), other.total()))
    assert np.mean(overlap[True]) < np.mean(overlap[False]) - 0.03


def test_same_seed_same_world_other_seed_other_world(tmp_path: Path) -> None:
    def world(seed: int) -> str:
        options = {"users": 80, "items": 50, "mean_length": 8, "seed": seed}
        return load_data(DataConfig(source="synthetic", options=options), None, Silent()).report.data_hash

    assert world(1) == world(1) != world(2)


def test_made_up_knowledge_names_what_readers_go_on_to_and_says_that_it_is_made_up(tmp_path: Path) -> None:
    config = Config(users=5, items=200, seed=3)
    assert write_knowledge(config, tmp_path / "knowledge.jsonl") == 200
    known = pl.read_ndjson(tmp_path / "knowledge.jsonl")
    options = {"users": 5, "items": 200, "seed": 3}
    items = load_data(DataConfig(source="synthetic", options=options), None, Silent()).items.frame
    assert set(items["item_id"]) <= set(known["item_id"])
    assert set(known["source"]) == {MADE_UP}
    assert known["knowledge"].n_unique() == 200
    joined = items.join(known.rename({"knowledge": "known"}), on="item_id")
    own = joined.select(own=pl.col("known").str.contains(pl.format("for readers of {} {} about", "mood", "genre")))
    assert own["own"].all()
    assert not joined["text"].str.contains("go on to").any()


def test_streamed_files_hold_the_same_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # several chunks, so that the seams are tested too
    monkeypatch.setattr("retort.offline.data.sources.synthetic.MAX_CHUNK_USERS", 40)
    config = Config(users=150, items=60, mean_length=9, seed=5)
    n_events = write_world(config, tmp_path, Silent())
    options = {
        "interactions": "interactions.parquet",
        "items": "items.parquet",
        "users": "users.parquet",
        "timestamp": "timestamp",
    }
    streamed = load_data(DataConfig(options=options), tmp_path, Silent())
    in_memory = load_data(DataConfig(source="synthetic", options=config.model_dump()), None, Silent())
    assert n_events == streamed.report.interactions
    assert streamed.report.users == 150
    assert streamed.report.data_hash == in_memory.report.data_hash

"""Splits: no future event reaches train, and the evaluation cases are the intended ones."""

from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retort.offline.data.interactions import Clock, Interactions
from retort.offline.data.split import (
    Cases,
    Protocol,
    Split,
    SplitConfig,
    make_split,
    profile_histories,
    train_interactions,
    train_popularity,
)
from retort.offline.data.split_store import load_split, save_split
from retort.shared.base.errors import DataError

Row = tuple[str, str, int]


def interactions(rows: list[Row], clock: Clock = "time") -> Interactions:
    frame = pl.DataFrame(
        [(*row, None) for row in rows],
        schema={"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "weight": pl.Float32},
        orient="row",
    )
    return Interactions(frame.sort("user_id", "timestamp", maintain_order=True), clock)


def history(user_id: str, items: str, start: int = 0) -> list[Row]:
    return [(user_id, item, start + at) for at, item in enumerate(items)]


def asked(split: Split, cases: Cases | None) -> list[tuple[str, str, str]]:
    """(user_id, history, target) in ids; "?" for a target that train never saw."""
    assert cases is not None
    ids = ["?", *split.item_index.ids]
    return [
        (split.user_ids[user], "".join(ids[i] for i in row), ids[target])
        for user, row, target in zip(cases.users, cases.histories, cases.targets, strict=True)
    ]


def trained(split: Split) -> dict[str, str]:
    return {user: "".join(split.item_index.id(int(i)) for i in row) for user, row in zip(split.user_ids, split.train)}  # noqa: B905


TOY = interactions([*history("u", "abcd"), *history("v", "bacb"), *history("w", "dd"), *history("x", "a")])


def test_leave_one_out_held() -> None:
    split = make_split(TOY, SplitConfig(), "held")
    assert trained(split) == {"u": "ab", "v": "ba", "w": "dd", "x": "a"}
    assert asked(split, split.validation) == [("u", "ab", "?"), ("v", "ba", "?")]
    assert asked(split, split.test) == [("u", "ab", "d"), ("v", "ba", "b")]


def test_leave_one_out_refit_has_the_same_test_and_trains_on_validation() -> None:
    split = make_split(TOY, SplitConfig(), "refit")
    assert trained(split) == {"u": "abc", "v": "bac", "w": "dd", "x": "a"}
    assert split.validation is None
    assert asked(split, split.test) == [("u", "abc", "d"), ("v", "bac", "b")]


def test_index_is_by_popularity_then_id() -> None:
    assert make_split(TOY, SplitConfig(), "held").item_index.ids == ["a", "b", "d"]


def test_min_history_leaves_short_users_in_train_only() -> None:
    split = make_split(interactions([*history("u", "abcd"), *history("v", "abc")]), SplitConfig(min_history=2), "held")
    assert trained(split)["v"] == "abc"
    assert [user for user, _, _ in asked(split, split.test)] == ["u"]


def test_cold_targets_are_kept_as_misses_or_removed() -> None:
    rows = interactions([*history("u", "abz"), *history("v", "aba")])
    kept = make_split(rows, SplitConfig(), "refit")
    removed = make_split(rows, SplitConfig(cold_items="remove"), "refit")
    assert [target for _, _, target in asked(kept, kept.test)] == ["?", "a"]
    assert asked(removed, removed.test) == [("v", "ab", "a")]


def test_max_history_keeps_the_latest() -> None:
    split = make_split(interactions([*history("u", "abcabca")]), SplitConfig(max_history=2), "refit")
    assert asked(split, split.test) == [("u", "bc", "a")]


# u: a b | c d ; v: a b a (all before the cut at 100) ; w: | a b
TIMED = interactions(
    [*history("u", "ab", 0), *history("u", "ca", 200), *history("v", "aba", 10), *history("w", "ab", 210)]
)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("last", [("u", "ab", "a"), ("w", "a", "b")]),
        ("successive", [("u", "ab", "?"), ("u", "ab", "a"), ("w", "a", "b")]),
    ],
)
def test_global_time_targets(target: str, expected: list[tuple[str, str, str]]) -> None:
    config = SplitConfig.model_validate({"method": "global_time", "quantile": 0.6, "target": target})
    split = make_split(TIMED, config, "refit")
    assert trained(split) == {"u": "ab", "v": "aba", "w": ""}
    assert asked(split, split.test) == expected


def test_random_target_is_seeded_and_lies_after_the_cut() -> None:
    rows = interactions([*history("u", "abc"), *history("u", "defghij", 200), *history("v", "abcdefghij")])
    config = SplitConfig(method="global_time", quantile=0.7, target="random")
    one, again = (make_split(rows, config, "refit") for _ in range(2))
    assert asked(one, one.test) == asked(again, again.test)
    splits = [make_split(rows, config.model_copy(update={"seed": seed}), "refit") for seed in range(12)]
    cases = [case for split in splits for case in asked(split, split.test)]
    users, lengths = {case[0] for case in cases}, [len(case[1]) for case in cases]
    assert users == {"u"}
    # all of u's events are known to train (through v), so a history's length is the target's place
    assert min(lengths) >= 3
    assert max(lengths) <= 9
    assert len(set(lengths)) > 2


def test_validation_by_user_takes_the_last_train_event() -> None:
    config = SplitConfig(method="global_time", quantile=0.6, validation_users=0.99)
    split = make_split(TIMED, config, "held")
    assert trained(split) == {"u": "a", "v": "ab", "w": ""}
    assert asked(split, split.validation) == [("u", "a", "b"), ("v", "ab", "a")]


def test_validation_by_time_is_a_second_cut() -> None:
    rows = interactions([*history("u", "abab"), *history("u", "ab", 100), *history("u", "a", 200)])
    config = SplitConfig(method="global_time", quantile=0.9, validation="time", validation_quantile=0.7)
    split = make_split(rows, config, "held")
    assert trained(split) == {"u": "abab"}
    assert asked(split, split.validation) == [("u", "ababa", "b")]
    assert asked(split, split.test) == [("u", "ababab", "a")]
    refit = make_split(rows, config, "refit")
    assert trained(refit) == {"u": "ababab"}
    assert asked(refit, refit.test) == asked(split, split.test)


def test_global_time_on_positions_is_refused() -> None:
    with pytest.raises(DataError, match=r"positions.*leave_one_out"):
        make_split(interactions(history("u", "abcd"), "position"), SplitConfig(method="global_time"), "held")


def test_a_split_without_cases_is_refused() -> None:
    with pytest.raises(DataError, match=r"no case in validation.*min_history"):
        make_split(interactions(history("u", "ab")), SplitConfig(), "held")


def test_empty_interactions_are_refused() -> None:
    with pytest.raises(DataError, match="no interactions"):
        make_split(interactions([]), SplitConfig(), "held")


def test_histories_for_profiles_are_train() -> None:
    split = make_split(TOY, SplitConfig(), "held")
    assert dict(profile_histories(split)) == {user: list(items) for user, items in trained(split).items()}
    rows = train_interactions(split, TOY)
    assert rows.group_by("user_id", maintain_order=True).agg("item_id").rows() == [
        (user, list(items)) for user, items in trained(split).items()
    ]


@pytest.mark.parametrize("protocol", ["held", "refit"])
def test_saved_split_comes_back(protocol: Protocol, tmp_path: Path) -> None:
    split = make_split(TOY, SplitConfig(), protocol)
    save_split(split, tmp_path)
    again = load_split(tmp_path)
    assert (again.protocol, again.user_ids, again.item_index.ids) == (
        split.protocol,
        split.user_ids,
        split.item_index.ids,
    )
    assert trained(again) == trained(split)
    assert asked(again, again.test) == asked(split, split.test)
    assert (again.validation is None) == (split.validation is None)


def test_unfinished_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split\.json"):
        load_split(tmp_path)


event = st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abcdefg"), st.integers(0, 40))
configs = st.builds(
    SplitConfig,
    method=st.sampled_from(["leave_one_out", "global_time"]),
    min_history=st.integers(1, 3),
    cold_items=st.sampled_from(["keep", "remove"]),
    quantile=st.floats(0.2, 0.95),
    target=st.sampled_from(["last", "successive", "random"]),
    validation=st.sampled_from(["user", "time"]),
    validation_quantile=st.floats(0.3, 0.95),
    seed=st.integers(0, 5),
)


@given(st.lists(event, min_size=1, max_size=60), configs, st.sampled_from(["held", "refit"]))
def test_nothing_of_the_future_reaches_train(rows: list[Row], config: SplitConfig, protocol: Protocol) -> None:
    data = interactions(rows)
    try:
        split = make_split(data, config, protocol)
    except DataError:
        return  # too few events to ask anybody; the sentences have tests of their own
    truth = {user: list(some) for user, some in groupby(data.frame.iter_rows(), key=lambda row: row[0])}
    n_train = dict(zip(split.user_ids, split.train.lengths.tolist(), strict=True))
    train = [row for user, some in truth.items() for row in some[: n_train[user]]]

    assert trained(split) == {user: "".join(row[1] for row in some[: n_train[user]]) for user, some in truth.items()}
    assert set(split.item_index.ids) == {row[1] for row in train}
    counts = [sum(row[1] == item for row in train) for item in split.item_index.ids]
    assert train_popularity(split).tolist() == [0, *counts]
    assert counts == sorted(counts, reverse=True)
    assert train_interactions(split, data).height == len(train)
    if config.method == "global_time":
        cut = int(np.quantile(data.frame["timestamp"].to_numpy(), config.quantile, method="higher"))
        assert all(row[2] < cut for row in train)

    for cases in (split.validation, split.test):
        for user, past, target in asked(split, cases) if cases is not None else []:
            items = [row[1] for row in truth[user]]
            # some event of the user after train is the target, and the history is all that is known before it
            fits = [
                "".join(i for i in items[:at] if i in split.item_index) == past
                and (items[at] if items[at] in split.item_index else "?") == target
                for at in range(max(n_train[user], config.min_history), len(items))
            ]
            assert any(fits)
            assert config.cold_items == "keep" or target != "?"


@given(st.lists(event, min_size=1, max_size=60), configs)
def test_held_and_refit_ask_the_same_test(rows: list[Row], config: SplitConfig) -> None:
    data, config = interactions(rows), config.model_copy(update={"cold_items": "keep"})
    try:
        held, refit = (make_split(data, config, protocol) for protocol in ("held", "refit"))
    except DataError:
        return
    assert held.test.users.tolist() == refit.test.users.tolist()
    assert (refit.train.lengths >= held.train.lengths).all()
    for one, other in zip(asked(held, held.test), asked(refit, refit.test), strict=True):
        assert one[2] in ("?", other[2])


def test_train_share_keeps_the_oldest_events_and_asks_the_same() -> None:
    rows = [*history("a", "pqrstuvw"), *history("b", "qrstuvwp")]
    whole = make_split(interactions(rows), SplitConfig(), "refit")
    half = make_split(interactions(rows), SplitConfig(train_share=0.5), "refit")
    assert half.train.lengths.tolist() == [4, 4]
    first = [half.item_index.id(int(item)) for item in half.train[0]]
    assert first == [whole.item_index.id(int(item)) for item in whole.train[0][:4]]
    assert len(half.test) == len(whole.test) == 2

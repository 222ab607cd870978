"""The teacher that reads: what it knows, and that it is never asked about rows it was tuned on."""

from dataclasses import replace

import numpy as np
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Split
from retort.offline.teachers._list_collector import TeacherOutputs
from retort.offline.teachers.config import TextEncoderConfig
from retort.offline.teachers.teacher import FloatArray
from retort.offline.teachers.text_encoder import text_encoder_lists
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD
from tests.offline._rankings import assert_same_ranking
from tests.offline._worlds import ring

N_ITEMS = 12
HAS_ITEM = np.arange(N_ITEMS + 1) > 0


def circle() -> FloatArray:
    """Items of the ring stand on a circle: neighbours read alike, but not who comes first."""
    angle = 2 * np.pi * np.arange(N_ITEMS + 1) / N_ITEMS
    vectors = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)], 1)
    return (vectors * HAS_ITEM[:, None]).astype(np.float32)


def outputs(split: Split, **knobs: float) -> TeacherOutputs:
    given = {"width": 4, "k": 5, "history": 1, "hide_seen": False, "batch_size": 64, **knobs}
    config = TextEncoderConfig(**given)  # type: ignore[arg-type]
    return text_encoder_lists(split, circle(), HAS_ITEM, config, Silent())


def test_an_untuned_encoder_recommends_similar_texts() -> None:
    split = ring(N_ITEMS)
    rankings = outputs(split, folds=0).rankings
    events = np.flatnonzero(rankings.rows_E >= 0)
    assert len(events) == len(split.train.values) - len(split.train)  # all but each user's first
    before = split.train.values[events - 1]
    assert (rankings.items[rankings.rows_E[events], 0] == before).all()


def test_tuned_on_other_users_it_learns_the_way_round_the_ring() -> None:
    split = ring(N_ITEMS)
    told_ = outputs(split, folds=3, epochs=40, learning_rate=2e-2)
    events = np.flatnonzero(told_.rankings.rows_E >= 0)
    rows = told_.rankings.rows_E[events]
    assert (told_.rankings.items[rows, 0] == split.train.values[events]).mean() > 0.9
    assert told_.hit_rate > 0.95


def test_a_users_lists_do_not_depend_on_that_users_next_items() -> None:
    """Cross-fitting: change what one user took last, and the lists of that user stay as they were."""
    split = ring(N_ITEMS)
    values = split.train.values.copy()
    last = split.train.offsets[1] - 1
    values[last] = values[last] % N_ITEMS + 1
    changed = replace(split, train=Ragged(values, split.train.offsets))
    # same item counts matter to the correction, so compare against the lists only up to rounding
    one, other = outputs(split, epochs=2).rankings, outputs(changed, epochs=2).rankings
    mine = slice(0, len(one.rows_E[: split.train.offsets[1]]) - 1)
    np.testing.assert_allclose(one.distances[mine], other.distances[mine], atol=5e-3)


def test_nothing_after_train_is_looked_at() -> None:
    blind = replace(ring(N_ITEMS), validation=None, test=None)  # type: ignore[arg-type]
    one, other = outputs(ring(N_ITEMS), epochs=1).rankings, outputs(blind, epochs=1).rankings
    np.testing.assert_array_equal(one.items, other.items)


def test_distances_ascend_and_say_how_far_the_true_item_is() -> None:
    split = ring(N_ITEMS)
    recommend = outputs(split, folds=2, k=N_ITEMS)
    rankings, shares = recommend.rankings, recommend.distributions
    assert (np.diff(rankings.distances, axis=1) >= -1e-6).all()
    events = np.flatnonzero(rankings.rows_E >= 0)
    hit = rankings.items[rankings.rows_E[events]] == split.train.values[events][:, None]
    assert hit.any(1).all()
    np.testing.assert_allclose(
        rankings.distances[rankings.rows_E[events]][hit], rankings.d_star[rankings.rows_E[events]], atol=1e-5
    )
    np.testing.assert_allclose(shares.probabilities.sum(1), 1.0, atol=1e-4)  # the whole catalogue is kept here
    places = hit.argmax(1) + 1
    assert (np.abs(shares.true_ranks[rankings.rows_E[events]] - places) <= 1).all()  # ties count against the item


def test_seen_items_are_not_recommended() -> None:
    split = ring(N_ITEMS, length=10)
    rankings = outputs(split, folds=0, hide_seen=True, k=N_ITEMS).rankings
    for event in np.flatnonzero(rankings.rows_E >= 0)[:200]:
        user = np.searchsorted(split.train.offsets, event, side="right") - 1
        seen = set(split.train.values[split.train.offsets[user] : event].tolist())
        row = rankings.rows_E[event]
        items = rankings.items[row]
        assert not (set(items[items != PAD].tolist()) & seen) - {int(split.train.values[event])}
        assert np.isinf(rankings.distances[row][items == PAD]).all()


def test_items_without_a_text_are_neither_read_nor_recommended() -> None:
    split = ring(N_ITEMS)
    has_item = HAS_ITEM & (np.arange(N_ITEMS + 1) != 7)
    config = TextEncoderConfig(width=4, k=12, history=1, folds=2, hide_seen=False)
    recommend = text_encoder_lists(split, circle() * has_item[:, None], has_item, config, Silent())
    assert not (recommend.rankings.items == 7).any()
    evaluated = np.flatnonzero(recommend.rankings.rows_E >= 0)
    assert not (split.train.values[evaluated - 1] == 7).any()
    assert np.isfinite(recommend.rankings.d_star).all()
    assert np.isfinite(recommend.distributions.probabilities).all()


def test_longer_histories_weigh_the_newest_most() -> None:
    split = ring(N_ITEMS)
    rankings = outputs(split, folds=0, history=3, decay=0.2).rankings
    events = np.flatnonzero(rankings.rows_E >= 0)
    assert (rankings.items[rankings.rows_E[events], 0] == split.train.values[events - 1]).mean() > 0.9


def test_missing_texts_are_reported() -> None:
    alone = replace(ring(N_ITEMS), train=Ragged.of([[1], [2]]))
    with pytest.raises(TeacherError, match="has no events to evaluate"):
        text_encoder_lists(alone, circle(), HAS_ITEM, TextEncoderConfig(), Silent())
    with pytest.raises(TeacherError, match="has no input"):
        text_encoder_lists(ring(N_ITEMS), circle(), HAS_ITEM & False, TextEncoderConfig(), Silent())


def test_only_the_newest_events_are_evaluated_where_configured() -> None:
    split = ring(N_ITEMS)
    every, newest = outputs(split, folds=0).rankings, outputs(split, folds=0, latest=2).rankings
    events = np.flatnonzero(newest.rows_E >= 0)
    assert sorted(events) == sorted([*(split.train.offsets[1:] - 1), *(split.train.offsets[1:] - 2)])
    for event in events:  # neighbours on the circle tie, and other batches may round them otherwise
        one, other = every.rows_E[event], newest.rows_E[event]
        assert_same_ranking((every.items[one], every.distances[one]), (newest.items[other], newest.distances[other]))

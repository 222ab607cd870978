"""Teachers from vectors on disk, and the control arms in their place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Cases, Split
from retort.offline.embeddings.vectors import FloatArray, write_vectors
from retort.offline.teachers.build import build_teacher
from retort.offline.teachers.config import TeacherConfig, WeightsConfig
from retort.offline.teachers.ranked_lists import RANKINGS, write_rankings
from retort.offline.teachers.teacher import Rankings, Teacher
from retort.shared.base.errors import TeacherError
from retort.shared.model.item_index import ItemIndex

N_USERS, N_ITEMS, WIDTH = 40, 12, 6
RNG = np.random.default_rng(0)
USER_VECTORS = RNG.normal([1, 2, 3, 4, 5, 6], [1, 1, 2, 2, 3, 3], (N_USERS, WIDTH)).astype(np.float32)
ITEM_VECTORS = RNG.normal(size=(N_ITEMS, 5)).astype(np.float32)
USER_IDS = tuple(f"u{n:02d}" for n in range(N_USERS))
ITEM_IDS = [f"i{n}" for n in range(N_ITEMS)]


@pytest.fixture
def split() -> Split:
    """User 0 has no train history; user n took n % 5 + 1 items."""
    rows = [[(user + step) % N_ITEMS + 1 for step in range(user % 5 + 1)] if user else [] for user in range(N_USERS)]
    evaluated = Cases(np.array([1]), Ragged.of([rows[1]]), np.array([1]))
    return Split("held", USER_IDS, ItemIndex(ITEM_IDS), Ragged.of(rows), evaluated, evaluated)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """Vectors in another order, without the last five users, with a stranger."""
    order = [*range(N_USERS - 6, -1, -1)]
    write_vectors(tmp_path / "users", ["stranger", *(USER_IDS[n] for n in order)], USER_VECTORS[[39, *order]])
    return tmp_path / "users"


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """Item vectors without the last item."""
    write_vectors(tmp_path / "items", ITEM_IDS[:-1], ITEM_VECTORS[:-1], "item_id")
    return tmp_path / "items"


def of(teacher: Teacher) -> tuple[FloatArray, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    assert teacher.user_vectors is not None
    assert teacher.has_user is not None
    return teacher.user_vectors, teacher.has_user  # type: ignore[return-value]


def test_the_list_control_gives_each_event_the_list_of_another(split: Split, tmp_path: Path) -> None:
    n_events = len(split.train.values)
    rows_E = np.where(np.arange(n_events) % 3 == 0, np.arange(n_events) // 3, -1)
    n_lists = int(rows_E.max()) + 1
    items = np.tile(np.arange(1, 5), (n_lists, 1))
    distances = np.tile(np.arange(4, dtype=np.float32), (n_lists, 1)) + np.arange(n_lists, dtype=np.float32)[:, None]
    write_rankings(tmp_path / RANKINGS, split, Rankings(rows_E, items, distances, np.zeros(n_lists, dtype=np.float32)))
    own = build_teacher(split, None, None, TeacherConfig(lists="file", lists_path=tmp_path)).rankings
    control = TeacherConfig(lists="file", lists_path=tmp_path, list_control="shuffled")
    other = build_teacher(split, None, None, control).rankings
    assert own is not None
    assert other is not None
    listed = own.rows_E >= 0
    np.testing.assert_array_equal(other.rows_E >= 0, listed)
    assert sorted(other.rows_E[listed]) == sorted(own.rows_E[listed])
    assert (other.rows_E[listed] != own.rows_E[listed]).all()
    with pytest.raises(TeacherError, match="needs lists"):
        build_teacher(split, None, None, TeacherConfig(list_control="shuffled"))


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_vectors_are_joined_by_id(split: Split, users: Path, items: Path) -> None:
    heard = Heard()
    teacher = build_teacher(split, users, items, progress=heard)
    vectors, present = of(teacher)
    assert present.tolist() == [False] + [True] * 34 + [False] * 5
    np.testing.assert_array_equal(vectors[present], USER_VECTORS[1:35])
    assert not vectors[~present].any()
    assert teacher.item_vectors is not None
    assert teacher.has_item is not None
    np.testing.assert_array_equal(teacher.item_vectors[1:12], ITEM_VECTORS[:-1])
    assert teacher.has_item.tolist() == [False] + [True] * 11 + [False]
    assert heard.lines[0].startswith("34 of 39 users with a train history have a teacher vector")
    assert heard.lines[1].startswith("11 of 12 items")


def test_without_vectors_there_is_an_empty_teacher(split: Split) -> None:
    assert build_teacher(split, None, None) == Teacher()


def test_shuffled_gives_everyone_the_vector_of_another(split: Split, users: Path) -> None:
    real, present = of(build_teacher(split, users, None))
    derangement, same = of(build_teacher(split, users, None, TeacherConfig(control="shuffled")))
    np.testing.assert_array_equal(same, present)
    assert not (derangement[present] == real[present]).all(axis=1).any()
    assert sorted(map(tuple, derangement[present].tolist())) == sorted(map(tuple, real[present].tolist()))
    again, _ = of(build_teacher(split, users, None, TeacherConfig(control="shuffled")))
    other, _ = of(build_teacher(split, users, None, TeacherConfig(control="shuffled", seed=7)))
    np.testing.assert_array_equal(again, derangement)
    assert (other != derangement).any()


def test_gaussian_has_the_moments_and_nothing_else(split: Split, users: Path) -> None:
    real, present = of(build_teacher(split, users, None))
    draws = [of(build_teacher(split, users, None, TeacherConfig(control="gaussian", seed=s)))[0] for s in range(40)]
    noise = np.concatenate([draw[present] for draw in draws])
    np.testing.assert_allclose(noise.mean(axis=0), real[present].mean(axis=0), atol=0.35)
    np.testing.assert_allclose(noise.std(axis=0), real[present].std(axis=0), rtol=0.15)
    assert not draws[0][~present].any()


def test_history_mean_is_the_mean_of_what_was_taken(split: Split, users: Path, items: Path) -> None:
    vectors, present = of(build_teacher(split, None, items, TeacherConfig(control="history_mean")))
    for user in range(N_USERS):
        taken = [item for item in split.train[user].tolist() if item != N_ITEMS]  # the last item has no vector
        assert present[user] == bool(taken)
        if taken:
            np.testing.assert_allclose(vectors[user], ITEM_VECTORS[np.array(taken) - 1].mean(axis=0), atol=1e-5)
    _, masked = of(build_teacher(split, users, items, TeacherConfig(control="history_mean")))
    _, real = of(build_teacher(split, users, items))
    assert not (masked & ~real).any()


def test_history_pca_knows_the_history_alone(split: Split) -> None:
    vectors, present = of(build_teacher(split, None, None, TeacherConfig(control="history_pca", n_components=8)))
    assert (vectors.shape, present.sum()) == ((N_USERS, 8), N_USERS - 1)
    np.testing.assert_allclose(vectors[1], vectors[1], atol=0)
    near, far = vectors[4] @ vectors[5 + 11], vectors[4] @ vectors[4]  # other items against the same items
    assert far > near
    with pytest.raises(TeacherError, match="n_components = 64"):
        build_teacher(split, None, None, TeacherConfig(control="history_pca"))


@pytest.mark.parametrize("control", ["none", "shuffled", "gaussian", "history_mean", "history_pca"])
def test_no_control_reads_events_after_train(control: str, split: Split, users: Path, items: Path) -> None:
    config = TeacherConfig(control=control, n_components=4)  # type: ignore[arg-type]
    blind = replace(split, validation=None, test=None)  # type: ignore[arg-type]
    one, other = (of(build_teacher(each, users, items, config)) for each in (split, blind))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_the_missing_input_is_named(split: Split, users: Path, tmp_path: Path) -> None:
    for control in ("shuffled", "gaussian"):
        with pytest.raises(TeacherError, match="needs user vectors"):
            build_teacher(split, None, None, TeacherConfig(control=control))  # type: ignore[arg-type]
    with pytest.raises(TeacherError, match="needs item vectors"):
        build_teacher(split, users, None, TeacherConfig(control="history_mean"))
    with pytest.raises(TeacherError, match="34 of 39 users"):
        build_teacher(split, users, None, TeacherConfig(min_coverage=0.95))
    write_vectors(tmp_path / "others", ["x", "y"], USER_VECTORS[:2])
    with pytest.raises(TeacherError, match="none of the 2 user ids"):
        build_teacher(split, tmp_path / "others", None)


def test_control_arms_change_no_input() -> None:
    from retort.offline.teachers import controls

    before, present = USER_VECTORS.copy(), np.ones(N_USERS, bool)
    controls.shuffled(USER_VECTORS, present, 1)
    controls.gaussian(USER_VECTORS, present, 1)
    np.testing.assert_array_equal(USER_VECTORS, before)
    with pytest.raises(TeacherError, match="at least two"):
        controls.shuffled(USER_VECTORS, np.arange(N_USERS) == 3, 1)


@pytest.mark.parametrize("arm", ["shuffled", "gaussian"])
def test_item_arms_keep_the_mask_and_no_items_own_text(arm: str, split: Split, items: Path) -> None:
    config = TeacherConfig(item_control=arm)  # type: ignore[arg-type]
    real, made = build_teacher(split, None, items), build_teacher(split, None, items, config)
    assert real.item_vectors is not None
    assert made.item_vectors is not None
    assert np.array_equal(real.has_item, made.has_item)  # type: ignore[arg-type]
    known = np.flatnonzero(real.has_item)  # type: ignore[arg-type]
    assert not any(np.allclose(real.item_vectors[item], made.item_vectors[item]) for item in known)
    assert not made.item_vectors[0].any()
    with pytest.raises(TeacherError, match="needs item vectors"):
        build_teacher(split, None, None, config)


def test_faithfulness_weights_users_where_the_recipe_requires_it(split: Split, users: Path, tmp_path: Path) -> None:
    outputs = {"user_id": [*USER_IDS[1:35]], "aspect": "", "text": "likes boats", "grounding": [1.0, 0.5] * 17}
    pl.DataFrame(outputs).write_parquet(tmp_path / "profiles.parquet")
    config = TeacherConfig(weights=WeightsConfig(by="grounding"))
    weights = build_teacher(split, users, None, config, profiles_path=tmp_path / "profiles.parquet").user_weights
    assert weights is not None
    assert weights[1] / weights[2] == pytest.approx(2.0)
    assert weights[1:35].mean() == pytest.approx(1.0)
    assert build_teacher(split, users, None, profiles_path=tmp_path / "profiles.parquet").user_weights is None
    with pytest.raises(TeacherError, match="needs the profiles themselves"):
        build_teacher(split, users, None, config)

"""A control arm reaches whatever a list maker reads of the items: vectors and texts alike."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.interactions import Items
from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Cases, Split
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.offline.embeddings.vectors import write_vectors
from retort.offline.teachers.build import build_teacher
from retort.offline.teachers.config import TeacherConfig
from retort.offline.teachers.list_builders import ItemKnowledge, make_lists
from retort.shared.base.errors import TeacherError
from retort.shared.model.item_index import ItemIndex

TITLES = ["", "Ash", "Birch", "Cedar", "", "Elm"]
MAKERS = {"grounding": "title_generation.title_generation_lists", "tuned_encoder": "tuned_encoder.tuned_encoder_lists"}


@pytest.fixture
def split() -> Split:
    nobody = Cases(np.empty(0, np.int64), Ragged.of([]), np.empty(0, np.int64))
    index = ItemIndex([f"i{place}" for place in range(1, len(TITLES))])
    return Split("held", ("u",), index, Ragged.of([np.array([1, 2, 3], np.int64)]), nobody, nobody)


@pytest.fixture
def known() -> ItemKnowledge:
    named = {"item_id": [f"i{place}" for place in range(1, len(TITLES))], "title": TITLES[1:]}
    return ItemKnowledge(Items(pl.DataFrame({**named, "text": [None] * 5})), None, EncoderConfig())


def texts_read(split: Split, known: ItemKnowledge, config: TeacherConfig, patch: pytest.MonkeyPatch) -> list[str]:
    """What the list maker is handed."""
    read: list[Any] = []
    patch.setattr(f"retort.offline.teachers.{MAKERS[config.lists]}", lambda split, texts, *more: read.append(texts))
    make_lists(split, known, config, Silent())
    return list(read[0])


@pytest.mark.parametrize("lists", MAKERS)
def test_shuffled_texts_reach_the_teachers_that_read_texts(
    lists: Any, split: Split, known: ItemKnowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = texts_read(split, known, TeacherConfig(lists=lists), monkeypatch)
    assert own == TITLES
    derangement = texts_read(split, known, TeacherConfig(lists=lists, item_control="shuffled"), monkeypatch)
    assert sorted(derangement) == sorted(TITLES)
    assert [bool(text) for text in derangement] == [bool(text) for text in TITLES], "who has no text gets none"
    assert not any(one and one == other for one, other in zip(derangement, TITLES, strict=True))


def test_noise_is_no_text(split: Split, known: ItemKnowledge) -> None:
    with pytest.raises(TeacherError, match="reads texts"):
        make_lists(split, known, TeacherConfig(lists="grounding", item_control="gaussian"), Silent())


def test_lists_that_are_given_cannot_be_controlled(split: Split, tmp_path: Path) -> None:
    write_vectors(tmp_path / "items", list(split.item_index.ids), np.eye(5, dtype=np.float32), "item_id")
    config = TeacherConfig(lists="file", lists_path=tmp_path, item_control="shuffled")
    with pytest.raises(TeacherError, match="cannot change lists that are given"):
        build_teacher(split, None, tmp_path / "items", config)


def test_lists_alone_may_be_what_a_control_changes(split: Split) -> None:
    assert build_teacher(split, None, None, TeacherConfig(lists="grounding", item_control="shuffled")).has_item is None

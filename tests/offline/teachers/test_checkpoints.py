"""Checkpoints: what was computed is not computed again, and a torn line is removed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from retort.offline.common.progress import Silent
from retort.offline.teachers import title_generation
from retort.offline.teachers._checkpoints import TuningCheckpoints
from retort.offline.teachers._language_model import template
from retort.offline.teachers.config import TitleGenerationConfig
from retort.offline.teachers.teacher import IntArray
from retort.offline.teachers.title_generation import TitleGenerator, title_generation_lists
from tests.offline._worlds import ring
from tests.offline.teachers._tiny_llama import make_tiny_llama

NAMES = ("", "Amber", "Birch", "Cedar", "Dune", "Ember", "Fjord", "Grove", "Heath")
SPLIT = ring(len(NAMES) - 1, n_users=12, length=4)


def never() -> list[float]:
    raise AssertionError("this must not be computed again")


def test_tensors_weights_and_texts_are_read_back(tmp_path: Path) -> None:
    trained, fresh = nn.Linear(3, 2), nn.Linear(3, 2)
    first = TuningCheckpoints(tmp_path)
    items = first.tensor("items", lambda: torch.arange(6.0).reshape(2, 3))
    assert first.weights("fold-0", trained, lambda: [2.0, 1.0]) == [2.0, 1.0]
    events = np.array([4, 7])
    assert first.texts(0, events, lambda _: ["a", "b"]) == ["a", "b"]
    again = TuningCheckpoints(tmp_path)
    torch.testing.assert_close(again.tensor("items", lambda: torch.zeros(1)), items)
    assert again.weights("fold-0", fresh, never) == [2.0, 1.0]
    torch.testing.assert_close(fresh.weight, trained.weight)
    assert again.texts(0, events[::-1], lambda _: ["never", "read"]) == ["b", "a"]
    assert again.texts(1, events, lambda _: ["c", "d"]) == ["c", "d"], "each fold has texts of its own"
    again.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["generated.jsonl"]


def test_a_line_that_a_crash_cut_is_generated_again(tmp_path: Path) -> None:
    TuningCheckpoints(tmp_path).texts(0, np.array([1]), lambda _: ["whole"])
    with (tmp_path / "generated.jsonl").open("ab") as file:
        file.write(b'{"fold": 0, "event": 2, "te')
    again = TuningCheckpoints(tmp_path)
    assert again.texts(0, np.array([1]), lambda _: ["not read"]) == ["whole"]
    assert again.texts(0, np.array([2]), lambda _: ["new"]) == ["new"]
    assert TuningCheckpoints(tmp_path).texts(0, np.array([2]), lambda _: ["not read"]) == ["new"]


def test_without_a_folder_nothing_is_stored(tmp_path: Path) -> None:
    checkpoints = TuningCheckpoints(None)
    assert checkpoints.texts(0, np.array([1]), lambda _: ["text"]) == ["text"]
    assert checkpoints.weights("fold-0", nn.Linear(1, 1), lambda: [1.0]) == [1.0]
    assert not list(tmp_path.iterdir())


class Killed(TitleGenerator):
    """Ends the process of its first life in the middle of the second fold."""

    lives = 0
    tuned = 0
    written = 0

    def tune_on(self, events: IntArray) -> list[float]:
        type(self).tuned += 1
        return super().tune_on(events)

    def write(self, events: IntArray) -> list[str]:
        type(self).written += len(events)
        if self.tuned == 2 and self.lives == 0:
            raise KeyboardInterrupt
        return super().write(events)


def test_a_killed_title_generation_continues_and_ends_with_the_same_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_llama(tmp_path / "llama", [template("title_generation"), " ".join(NAMES)])
    config = TitleGenerationConfig(
        model=str(tmp_path / "llama"), epochs=2, history=1, rows=8, folds=2, batch_size=4, max_new_tokens=3, k=4
    )
    whole = title_generation_lists(SPLIT, NAMES, config, Silent())
    monkeypatch.setattr(title_generation, "TitleGenerator", Killed)
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(KeyboardInterrupt):
        title_generation_lists(SPLIT, NAMES, config, Silent(), work)
    Killed.lives, before = 1, Killed.written
    resumed = title_generation_lists(SPLIT, NAMES, config, Silent(), work)
    assert Killed.tuned == 2, "both folds were tuned once"
    assert Killed.written - before < len(SPLIT.train), "the first fold's titles were read back"
    np.testing.assert_array_equal(resumed.rankings.items, whole.rankings.items)
    np.testing.assert_allclose(resumed.rankings.distances, whole.rankings.distances, rtol=1e-4, atol=1e-5)

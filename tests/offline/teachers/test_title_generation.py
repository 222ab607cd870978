"""The teacher that writes titles: it learns by LoRA alone, and is never asked about what it read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from retort.offline.common.progress import Silent
from retort.offline.data.ragged import Ragged
from retort.offline.teachers import title_generation
from retort.offline.teachers._language_model import loss_line, template
from retort.offline.teachers._train_events import TrainEvents
from retort.offline.teachers.config import TitleGenerationConfig
from retort.offline.teachers.teacher import IntArray
from retort.offline.teachers.title_generation import TitleGenerator, title_generation_lists
from retort.shared.base.errors import TeacherError
from tests.offline._worlds import ring
from tests.offline.teachers._tiny_llama import make_tiny_llama

N_ITEMS = 8
SPLIT = ring(N_ITEMS, n_users=40, length=6)
NAMES = ("", "Amber", "Birch", "Cedar", "Dune", "Ember", "Fjord", "Grove", "Heath")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    make_tiny_llama(folder, [template("title_generation"), " ".join(NAMES)])
    return folder


def config(model: Path, **knobs: object) -> TitleGenerationConfig:
    given = {
        "model": str(model), "epochs": 8, "learning_rate": 5e-3, "history": 1, "hide_seen": False, "rows": None,
        "lora_rank": 16, "lora_layers": "all-linear", "lora_dropout": 0.0, "max_new_tokens": 3, "k": 4, "latest": None,
        **knobs,
    }  # fmt: skip
    return TitleGenerationConfig(**given)  # type: ignore[arg-type]


def test_it_learns_to_write_the_next_title_by_lora_alone(model: Path) -> None:
    writer = TitleGenerator(TrainEvents(SPLIT.train), NAMES, config(model))
    before = {name: weight.clone() for name, weight in writer.model.named_parameters()}
    items = writer.embed(NAMES)
    events = np.flatnonzero(writer.events.nth.numpy() > 0)
    losses = writer.tune_on(events)
    assert losses[-1] < 0.5 * losses[0]
    written = writer.write(events[:16])
    assert (
        np.mean([NAMES[item] == text for item, text in zip(SPLIT.train.values[events[:16]], written, strict=True)])
        > 0.8
    )
    changed = {name for name, weight in writer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)
    torch.testing.assert_close(writer.embed(NAMES), items)  # where titles stand does not move with the tuning


def test_a_distance_is_the_squared_one_between_what_was_written_and_a_title(model: Path) -> None:
    writer = TitleGenerator(TrainEvents(SPLIT.train), NAMES, config(model, k=N_ITEMS))
    events = np.array([1, 6])
    said, titles_NH, written_RH = writer.recommend(events), writer.embed(NAMES), writer.embed(writer.write(events))
    expected_RN = ((written_RH[:, None] - titles_NH) ** 2).sum(-1)
    torch.testing.assert_close(said.distances_RK, expected_RN.gather(1, said.items_RK), rtol=1e-3, atol=1e-3)
    true_R1 = torch.from_numpy(SPLIT.train.values[events])[:, None]
    torch.testing.assert_close(said.d_star_R, expected_RN.gather(1, true_R1)[:, 0], rtol=1e-3, atol=1e-3)
    assert set(said.items_RK[0].tolist()) == set(range(1, N_ITEMS + 1))


def test_one_epoch_has_one_loss() -> None:
    assert loss_line([5.1614]) == "loss 5.161 in epoch 1"
    assert loss_line([5.1614, 6.0, 4.2]) == "loss 5.161 in epoch 1, 4.200 in epoch 3"


class Notes(TitleGenerator):
    """Notes what it reads instead of reading it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.seen: list[int] = []

    def _loss(self, part: IntArray) -> torch.Tensor:
        self.seen += part.tolist()
        return torch.stack([weight.sum() for weight in self.model.parameters() if weight.requires_grad]).sum()


def test_the_same_few_events_are_read_in_every_epoch(model: Path) -> None:
    """BIGRec is tuned on 1024 samples in all, not on so many new ones in each of its epochs."""
    writer = Notes(TrainEvents(SPLIT.train), NAMES, config(model, epochs=4, rows=6))
    events = np.flatnonzero(writer.events.nth.numpy() > 0)
    writer.tune_on(events)
    assert len(writer.seen) == 4 * 6
    assert len(set(writer.seen)) == 6
    again = Notes(TrainEvents(SPLIT.train), NAMES, config(model, epochs=4, rows=6))
    again.tune_on(events)
    assert again.seen == writer.seen


class Knows(TitleGenerator):
    """Writes the true title, and notes what it was tuned on and asked about."""

    learnt: list[IntArray] = []  # noqa: RUF012
    evaluated: list[IntArray] = []  # noqa: RUF012

    def tune_on(self, events: IntArray) -> list[float]:
        self.learnt.append(events)
        return [1.0, 0.5]

    def write(self, events: IntArray) -> list[str]:
        self.evaluated.append(events)
        return [self.titles[int(self.events.values[event])] for event in events]


def test_generated_titles_are_looked_up_and_teachers_are_cross_fitted(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(title_generation, "TitleGenerator", Knows)
    outputs = title_generation_lists(SPLIT, NAMES, config(model, folds=2, batch_size=512), Silent())
    events = np.flatnonzero(outputs.rankings.rows_E >= 0)
    rows = outputs.rankings.rows_E[events]
    assert len(events) == len(SPLIT.train.values) - len(SPLIT.train)
    assert (outputs.rankings.items[rows, 0] == SPLIT.train.values[events]).all()
    assert outputs.rankings.d_star == pytest.approx(0, abs=1e-3)
    assert (np.diff(outputs.rankings.distances, axis=1) >= 0).all()
    assert (outputs.distributions.probabilities.sum(1) <= 1 + 1e-5).all()
    users = TrainEvents(SPLIT.train).users
    for learnt, evaluated in zip(Knows.learnt, Knows.evaluated, strict=True):
        assert not set(users[learnt]) & set(users[evaluated])


def test_the_faithful_mode_evaluates_one_model_at_the_newest_events(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(title_generation, "TitleGenerator", Knows)
    monkeypatch.setattr(Knows, "learnt", [])
    outputs = title_generation_lists(SPLIT, NAMES, config(model, folds=1, latest=1), Silent())
    assert len(Knows.learnt) == 1
    assert sorted(np.flatnonzero(outputs.rankings.rows_E >= 0)) == sorted(SPLIT.train.offsets[1:] - 1)


def test_a_long_history_loses_its_oldest_titles(model: Path) -> None:
    writer = TitleGenerator(TrainEvents(SPLIT.train), NAMES, config(model, history=4, max_tokens=23))
    ids = writer._prompt(3)
    text = writer.tokenizer.decode(ids)
    assert len(ids) <= 20
    assert NAMES[SPLIT.train.values[2]] in text
    assert NAMES[SPLIT.train.values[0]] not in text


def test_no_eligible_event_is_reported(model: Path) -> None:
    with pytest.raises(TeacherError, match="titles for"):
        title_generation_lists(SPLIT, NAMES[1:], config(model), Silent())
    with pytest.raises(TeacherError, match="with a title"):
        title_generation_lists(SPLIT, [""] * len(NAMES), config(model), Silent())
    alone = replace(SPLIT, train=Ragged.of([[1], [2]]))
    with pytest.raises(TeacherError, match="no train history has two"):
        title_generation_lists(alone, NAMES, config(model), Silent())

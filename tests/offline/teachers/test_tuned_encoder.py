"""The sentence encoder, tuned for real: it comes to know what follows what, and nobody is asked about who was read."""

import numpy as np
import pytest
import torch

from retort.offline.common.progress import Silent
from retort.offline.data.ragged import Ragged
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.offline.teachers import tuned_encoder
from retort.offline.teachers._train_events import TrainEvents
from retort.offline.teachers.config import TunedEncoderConfig
from retort.offline.teachers.teacher import IntArray
from retort.offline.teachers.tuned_encoder import TunedEncoder, tuned_encoder_lists, tuned_item_vectors
from retort.shared.base.errors import TeacherError
from tests.offline._worlds import ring

N_ITEMS = 6
SPLIT = ring(N_ITEMS, n_users=40, length=6)
TEXTS = ("", "red paint", "jazz record", "garden spade", "tea pot", "running shoes", "chess set")
CONFIG = TunedEncoderConfig(
    history=1, batch_size=10, epochs=4, rows=30, learning_rate=2e-3, latest=None, k=3, max_tokens=16
)
ENCODER = EncoderConfig(device="cpu")


def test_it_learns_what_follows_by_lora_alone() -> None:
    """Three pairs of unlike things: after paint comes jazz, after a spade tea, after shoes chess."""
    train = Ragged.of([[user % 3 * 2 + 1, user % 3 * 2 + 2] for user in range(30)])
    tuned = TunedEncoder(TrainEvents(train), TEXTS, ENCODER, CONFIG)
    before = {name: weight.clone() for name, weight in tuned.model.named_parameters()}
    events = np.flatnonzero(tuned.events.nth.numpy() > 0)
    first, first_items = tuned.recommend(events), tuned.items().clone()
    losses = tuned.tune_on(events)
    then = tuned.recommend(events)
    assert losses[-1] < 0.7 * losses[0]
    assert then.d_star_R.mean() < first.d_star_R.mean()
    assert then.ranks_R.float().mean() < first.ranks_R.float().mean()
    changed = {name for name, weight in tuned.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)
    assert not torch.allclose(tuned.items(), first_items)
    torch.testing.assert_close(tuned.items().norm(dim=1), torch.ones(N_ITEMS + 1))


class Counted(TunedEncoder):
    """Notes what it learnt and was asked."""

    learnt: list[IntArray] = []  # noqa: RUF012
    evaluated: list[IntArray] = []  # noqa: RUF012

    def tune_on(self, events: IntArray) -> list[float]:
        self.learnt.append(events)
        return [1.0, 0.5]

    def recommend(self, events: IntArray):  # type: ignore[no-untyped-def]
        self.evaluated.append(events)
        return super().recommend(events)


def test_lists_are_cross_fitted_and_cover_the_newest_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned_encoder, "TunedEncoder", Counted)
    outputs = tuned_encoder_lists(SPLIT, TEXTS, ENCODER, CONFIG.model_copy(update={"latest": 1}), Silent())
    assert sorted(np.flatnonzero(outputs.rankings.rows_E >= 0)) == sorted(SPLIT.train.offsets[1:] - 1)
    users = TrainEvents(SPLIT.train).users
    for learnt, evaluated in zip(Counted.learnt, Counted.evaluated, strict=True):
        assert not set(users[learnt]) & set(users[evaluated])
        assert len(learnt) > len(evaluated)
    assert (outputs.distributions.probabilities.sum(1) <= 1 + 1e-5).all()


def test_items_without_a_text_are_neither_read_nor_recommended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TunedEncoder, "tune_on", lambda self, events: [1.0, 0.5])
    texts = ["" if place == 4 else text for place, text in enumerate(TEXTS)]
    outputs = tuned_encoder_lists(SPLIT, texts, ENCODER, CONFIG, Silent())
    assert not (outputs.rankings.items == 4).any()
    evaluated = np.flatnonzero(outputs.rankings.rows_E >= 0)
    assert not (SPLIT.train.values[evaluated - 1] == 4).any()
    vectors = tuned_item_vectors(SPLIT, texts, ENCODER, CONFIG, Silent())
    assert not vectors[[0, 4]].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[[1, 2, 3, 5, 6]], axis=1), 1, rtol=1e-4)


def test_missing_texts_are_reported() -> None:
    with pytest.raises(TeacherError, match="has no events to evaluate"):
        tuned_encoder_lists(SPLIT, [""] * len(TEXTS), ENCODER, CONFIG, Silent())
    with pytest.raises(TeacherError, match="too few"):
        tuned_encoder_lists(SPLIT, TEXTS[:3], ENCODER, CONFIG, Silent())
    with pytest.raises(TeacherError, match="lora_layers"):
        TunedEncoder(TrainEvents(SPLIT.train), TEXTS, ENCODER, CONFIG.model_copy(update={"lora_layers": ("nothing",)}))

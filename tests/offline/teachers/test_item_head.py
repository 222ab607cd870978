"""The teacher that reads the student's items: it learns, by its LoRA weights, map and head alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from retort.offline.teachers._language_model import template
from retort.offline.teachers._list_collector import ListCollector
from retort.offline.teachers._train_events import TrainEvents
from retort.offline.teachers._trainable import StudentPredictions
from retort.offline.teachers.config import ItemHeadConfig
from retort.offline.teachers.item_head import ItemHead
from retort.shared.base.errors import TeacherError
from tests.offline._worlds import ring
from tests.offline.teachers._tiny_llama import make_tiny_llama

N_ITEMS = 12
SPLIT = ring(N_ITEMS, n_users=60)
EVENTS = TrainEvents(SPLIT.train)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    make_tiny_llama(folder, [template("item_head")])
    return folder


def config(model: Path, **knobs: object) -> ItemHeadConfig:
    given = {"model": str(model), "epochs": 8, "learning_rate": 1e-2, "history": 3, "hide_seen": False, **knobs}
    return ItemHeadConfig(**given)  # type: ignore[arg-type]


def teacher_model(model: Path, **knobs: object) -> ItemHead:
    made = ItemHead(EVENTS, N_ITEMS, config(model, **knobs), k=4, temperature=1.0)
    torch.manual_seed(1)
    vectors = torch.randn(N_ITEMS + 1, 8)
    vectors[0] = 0
    made.set_item_vectors(vectors)
    return made


def found(made: ItemHead) -> float:
    said = made.recommend(made.evaluated)
    return float((said.items_RK[:, 0].numpy() == SPLIT.train.values[made.evaluated]).mean())


def test_it_learns_the_ring_and_the_base_model_stays(model: Path) -> None:
    made = teacher_model(model)
    before = {name: weight.clone() for name, weight in made.model.named_parameters()}
    mine, held = made.eligible[::2], made.eligible[1::2]
    assert found(made) < 0.4
    first = made.tune_on(mine[:16], None)
    assert made.tune_on(mine, None) < first
    said = made.recommend(held)
    assert (said.items_RK[:, 0].numpy() == SPLIT.train.values[held]).mean() > 0.9
    changed = {name for name, weight in made.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)


def test_padding_of_a_batch_has_no_effect(model: Path) -> None:
    made = teacher_model(model)
    made.model.eval()
    short = made.eligible[EVENTS.nth.numpy()[made.eligible] == 1][:1]
    long = made.eligible[EVENTS.nth.numpy()[made.eligible] == 3][:1]
    together = made._logits(np.concatenate([short, long]))
    torch.testing.assert_close(together[:1], made._logits(short), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[1:], made._logits(long), atol=1e-5, rtol=1e-4)


def test_the_teacher_learns_from_the_students_predictions(model: Path) -> None:
    """The student says that what follows is the item after next; listening alone, the teacher comes to say so too."""
    made = teacher_model(model)
    targets = SPLIT.train.values[made.eligible]
    lists = ListCollector(len(EVENTS), made.eligible, 1, 1.0)
    said = lists.outputs().distributions
    said.items[:, 0] = targets % N_ITEMS + 1
    said.probabilities[:, 0] = 0.99
    made.tune_on(made.eligible, StudentPredictions(said, weight=20.0, weigh_samples=False, current_ranks=False))
    answered = made.recommend(made.eligible).items_RK[:, 0].numpy()
    assert (answered == targets % N_ITEMS + 1).mean() > 0.8


def test_distillation_scores_equal_the_heads_scores(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bias too is part of the scores that are compared with the student's."""
    made = teacher_model(model, epochs=1)
    torch.nn.init.normal_(made.head.bias)
    given: list[tuple[torch.Tensor, torch.Tensor]] = []

    def hear(
        said: StudentPredictions, states: torch.Tensor, table: torch.Tensor, events: np.ndarray, targets: torch.Tensor
    ) -> torch.Tensor:
        given.append((states @ table.T, made._logits(events)))
        return states.sum() * 0

    monkeypatch.setattr(StudentPredictions, "loss", hear)
    said = ListCollector(len(EVENTS), made.eligible, 1, 1.0).outputs().distributions
    made.tune_on(made.eligible[:4], StudentPredictions(said, weight=1.0, weigh_samples=False, current_ranks=False))
    torch.testing.assert_close(*given[0], atol=1e-5, rtol=1e-4)


def test_a_list_is_a_distribution(model: Path) -> None:
    made = ItemHead(EVENTS, N_ITEMS, config(model, hide_seen=True, latest=1), k=N_ITEMS, temperature=2.0)
    made.set_item_vectors(torch.randn(N_ITEMS + 1, 8))
    assert len(made.evaluated) == len(SPLIT.train)
    said = made.recommend(made.evaluated)
    torch.testing.assert_close(said.shares_RK.sum(1), torch.ones(len(made.evaluated)), atol=1e-4, rtol=0)
    for row, event in enumerate(made.evaluated):
        user = SPLIT.train[int(EVENTS.users[event])]
        assert not set(said.items_RK[row].tolist()) & set(user[: EVENTS.nth[event]].tolist())


def test_the_missing_input_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="cannot be loaded"):
        ItemHead(EVENTS, N_ITEMS, config(tmp_path), 4, 1.0)
    with pytest.raises(TeacherError, match="lora_layers"):
        ItemHead(EVENTS, N_ITEMS, config(model, lora_layers=("nothing",)), 4, 1.0)
    with pytest.raises(TeacherError, match="requires a student"):
        ItemHead(EVENTS, N_ITEMS, config(model), 4, 1.0).tune_on(np.array([1]), None)

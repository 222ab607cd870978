"""Knowledge on the item side: the text start, and the addition that is folded away."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from retort.offline.common.progress import Silent
from retort.offline.distillation import alphafuse, embedding, relational, text_start
from retort.offline.distillation._item_targets import ItemTargets, item_targets, whitened
from retort.offline.export.onnx import export_student
from retort.offline.training.config import TrainingConfig
from retort.offline.training.loop import fit
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD
from retort.shared.model.scoring import Scorer
from tests.offline._worlds import teacher_of
from tests.offline.distillation._batches import SPLIT, output, student

N_ITEMS = len(SPLIT.item_index)
TEACHER = teacher_of(SPLIT)


def targets(width: int = 8, rows: int = 400) -> ItemTargets:
    torch.manual_seed(0)
    loudness = torch.tensor([10.0, 3.0, 1.0, 0.3, 0.1, 0.05, 0.02, 0.01])[:width]
    vectors = torch.randn(rows, width) * loudness + 5.0
    known = torch.arange(rows) > 2
    return ItemTargets(vectors * known[:, None], known)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_whitening_scales_directions_by_its_power(power: float) -> None:
    white = whitened(targets(), 4, power)
    known = white.vectors_NE[white.known_N]
    assert known.square().mean().item() == pytest.approx(1.0, rel=1e-4)
    torch.testing.assert_close(known.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    ratio = (known.std(0)[0] / known.std(0)[1]).item()
    assert ratio == pytest.approx((10 / 3) ** (1 - power), rel=0.15)
    assert not white.vectors_NE[~white.known_N].any()


def test_a_text_narrower_than_the_student_leaves_the_rest_empty() -> None:
    white = whitened(targets(width=3), 6, 0.5)
    assert white.vectors_NE.shape[1] == 6
    assert not white.vectors_NE[:, 3:].any()


def test_cosines_survive_pca_without_whitening() -> None:
    full = targets()
    white = whitened(full, 8, 0.0)
    centred = full.vectors_NE[full.known_N] - full.vectors_NE[full.known_N].mean(0)
    expected = torch.nn.functional.normalize(centred, dim=-1)
    found = torch.nn.functional.normalize(white.vectors_NE[white.known_N], dim=-1)
    torch.testing.assert_close(found @ found.T, expected @ expected.T, rtol=1e-3, atol=1e-3)


def test_the_text_start_fills_known_rows_and_no_other() -> None:
    model = student()
    before = model.items.weight.detach().clone()
    known = np.arange(N_ITEMS + 1) > 4
    teacher = replace(TEACHER, has_item=known)
    text_start.Model(text_start.Config(name="text_start", rms=0.2), model, teacher).prepare(model)
    after = model.items.weight.detach()
    assert torch.equal(after[:5], before[:5])
    assert after[5:].square().mean().sqrt().item() == pytest.approx(0.2, rel=1e-4)
    assert not after[PAD].any()


def test_an_interrupted_training_does_not_repeat_the_text_start(tmp_path: Path) -> None:
    model = student()
    objective = text_start.Model(text_start.Config(name="text_start"), model, TEACHER)
    config = TrainingConfig(epochs=2, batch_size=32)
    fit(model, SPLIT, [objective], config, Silent(), tmp_path, stop_after=1)
    learnt = model.items.weight.detach().clone()
    again = student()
    objective = text_start.Model(text_start.Config(name="text_start"), again, TEACHER)
    fit(again, SPLIT, [objective], config, Silent(), tmp_path, stop_after=1)
    assert torch.equal(again.items.weight, learnt)


@pytest.mark.parametrize("mode", ["faithful", "repaired"])
def test_the_addition_is_folded_into_exactly_the_plain_student(mode: str, tmp_path: Path) -> None:
    model, plain = student(), student()
    objective = embedding.Model(
        embedding.Config(name="embedding", weight=0.3, mode=mode),  # type: ignore[arg-type]
        model,
        TEACHER,
    )
    projection = objective.project.weight.detach().clone()
    config = TrainingConfig(epochs=2, batch_size=32)
    for name, one, objectives in (("plain", plain, []), ("distilled", model, [objective])):
        (tmp_path / name).mkdir()
        fit(one, SPLIT, objectives, config, Silent(), tmp_path / name)
    assert not torch.equal(objective.project.weight, projection)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in plain.parameters())
    if mode == "faithful":
        return  # one export of each is enough
    graph = export_student(model)
    assert len(graph) == len(export_student(plain))
    scorer = Scorer(graph, n_items=N_ITEMS, max_length=6)
    with torch.no_grad():
        scores = model.last_state(torch.tensor([[1, 2]])) @ model.item_table().T
    items, best = scorer.top_k([np.array([1, 2])], k=3).row(0)
    np.testing.assert_allclose(best, scores[0, items].numpy(), rtol=1e-4, atol=1e-5)


def test_the_folded_weights_are_the_best_by_validation(tmp_path: Path) -> None:
    from retort.offline.evaluation.metrics import ndcg
    from retort.offline.evaluation.validate import validation_ranks

    model = student()
    objective = embedding.Model(embedding.Config(name="embedding", weight=1.0), model, TEACHER)
    config = TrainingConfig(epochs=12, batch_size=32, learning_rate=2e-2, patience=2)
    fitted = fit(model, SPLIT, [objective], config, Silent(), tmp_path)
    assert SPLIT.validation is not None
    best = max(entry.ndcg for entry in fitted.log if entry.ndcg is not None)
    assert ndcg(validation_ranks(model, SPLIT.validation), 10).mean() == pytest.approx(best, abs=1e-6)


def test_items_without_text_get_no_addition() -> None:
    model = student()
    teacher = replace(TEACHER, has_item=np.arange(N_ITEMS + 1) > 4)
    objective = embedding.Model(embedding.Config(name="embedding"), model, teacher)
    table = objective.table()
    assert not table[:5].any()
    assert table[5:].abs().sum(-1).min() > 0
    torch.testing.assert_close(objective.rows(torch.tensor([[0, 7]])), table[[0, 7]][None])


def test_relations_among_items_follow_the_texts() -> None:
    model = student()
    objective = relational.Model(relational.Config(name="relational", among="items"), model, TEACHER)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    first = objective(output(model)).item()
    for _ in range(150):
        loss = objective(output(model))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * first


def test_relations_count_known_items_only() -> None:
    model = student()
    nobody = replace(TEACHER, has_item=np.arange(N_ITEMS + 1) == 12)
    objective = relational.Model(relational.Config(name="relational", among="items"), model, nobody)
    loss = objective(output(model))
    loss.backward()
    assert loss.item() == 0


def test_item_objectives_name_the_missing_input() -> None:
    with pytest.raises(TeacherError, match="needs item vectors"):
        item_targets(replace(TEACHER, item_vectors=None), "text_start")


def test_alphafuse_fixes_the_text_columns_and_learns_the_others(tmp_path: Path) -> None:
    model, plain = student(), student()
    known = np.arange(N_ITEMS + 1) > 4
    objective = alphafuse.Model(
        alphafuse.Config(name="alphafuse", width=3, rms=0.2), model, replace(TEACHER, has_item=known)
    )
    before = model.items.weight.detach().clone()
    fit(model, SPLIT, [objective], TrainingConfig(epochs=2, batch_size=32), Silent(), tmp_path)
    table = model.items.weight.detach()
    torch.testing.assert_close(table[5:, :3], objective.text_ND[5:, :3])
    assert table[5:, :3].square().mean().sqrt().item() == pytest.approx(0.2, rel=1e-4)
    assert not torch.equal(table[5:, 3:], before[5:, 3:])
    assert not torch.equal(table[1:5, :3], before[1:5, :3])
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert not table[PAD].any()


def test_alphafuse_leaves_room_for_ids() -> None:
    model = student()
    with pytest.raises(TeacherError, match="leaves no column"):
        alphafuse.Model(alphafuse.Config(name="alphafuse", width=model.config.embedding_dim), model, TEACHER)

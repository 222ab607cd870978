"""NeuMF's scores are its own: the same one by one, many at once, in parts, and in the graph of any batch."""

import numpy as np
import pytest
import torch

from retort.offline.common.section import parse_section
from retort.offline.distillation import feature, ranking
from retort.offline.export.onnx import export_student
from retort.offline.export.topk_graph import grow_table
from retort.offline.students import neumf
from retort.offline.training import losses
from retort.offline.training.config import TrainingConfig
from retort.offline.training.sequence_loss import Negatives, SequenceLoss
from retort.shared.base.errors import BundleError, RecipeError, TeacherError
from retort.shared.model.scoring import Scorer
from tests.offline._rankings import assert_same_ranking
from tests.offline._worlds import ring, teacher_of

N_ITEMS = 12


def model(**knobs: object) -> neumf.Model:
    torch.manual_seed(0)
    config = neumf.Config(embedding_dim=8, max_length=6, **{"layers": (16, 6), "dropout": 0.0, **knobs})  # type: ignore[arg-type]
    return neumf.Model(config, N_ITEMS).eval()


def test_the_score_is_the_papers_formula() -> None:
    student = model()
    state_D, item_D = torch.randn(8), torch.randn(8)
    tower = student.tower
    pair = torch.cat([state_D[4:], item_D[4:]])
    first = torch.cat([tower.read_user.weight, tower.read_item.weight], 1) @ pair + tower.read_user.bias
    last = tower.deeper[0](first.relu()).relu()
    joined = torch.cat([state_D[:4] * item_D[:4], last])
    expected = torch.cat([student.weigh, student.join.weight[0]]) @ joined + student.join.bias[0]
    torch.testing.assert_close(student.match(state_D, item_D), expected)


def test_scores_are_no_inner_product() -> None:
    """Of the scores of many states and items, the rank is above the width of the vectors."""
    student = model()
    scores = student.scores(3 * torch.randn(40, 8), 3 * torch.randn(40, 8)).detach().double()
    assert torch.linalg.matrix_rank(scores, rtol=1e-5) > 8 + 2


def test_scores_in_parts_are_the_same_and_so_is_their_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    student = model()
    states_MD = torch.randn(7, 8)
    found = []
    for limit in (1 << 23, 2 * 13 * 16):
        monkeypatch.setattr(neumf, "_PAIRS_FLOATS", limit)
        student.zero_grad()
        scores_MN = student.scores(states_MD, student.item_table())
        scores_MN.square().sum().backward()
        assert student.items.weight.grad is not None
        found.append((scores_MN.detach(), student.items.weight.grad.clone()))
    torch.testing.assert_close(found[0], found[1])


def test_a_batch_of_the_graph_equals_its_rows() -> None:
    scorer = Scorer(export_student(model()), n_items=N_ITEMS, max_length=6)
    histories = [np.array(row, dtype=np.int64) for row in ([], [1], [3, 4, 5], list(range(1, 9)))]
    together = scorer.top_k(histories, N_ITEMS)
    for row, history in enumerate(histories):
        alone = scorer.top_k([history], N_ITEMS)
        assert_same_ranking((together.items_BK[row], together.scores_BK[row]), (alone.items_BK[0], alone.scores_BK[0]))


@pytest.mark.parametrize("loss", ["bce", "bpr", "sampled_softmax", "full_softmax"])
def test_losses_by_scores_are_those_by_vectors_where_scores_are_inner_products(loss: str) -> None:
    """With nothing but GMF at weight 1 both are told the same."""
    student = model(read_dim=1, layers=(2,))
    with torch.no_grad():
        student.join.weight.zero_()
        student.join.bias.zero_()
    split = ring(N_ITEMS)
    config = TrainingConfig(loss=loss, negatives=9, bf16=False)  # type: ignore[arg-type]
    states_MD, targets_M = torch.randn(5, 8), torch.tensor([1, 2, 3, 4, 12])
    table_ND = student.item_table().detach()
    torch.manual_seed(3)
    got = SequenceLoss(split, config)(student, states_MD, table_ND, targets_M)
    torch.manual_seed(3)
    sampler = Negatives(split, config.popularity_power if loss == "sampled_softmax" else 0.0, expected_of=9)
    pair = (states_MD[:, :7], table_ND[:, :7], targets_M)
    match loss:
        case "full_softmax":
            expected = losses.full_softmax(*pair)
        case "sampled_softmax":
            expected = losses.sampled_softmax(*pair, sampler.draw(9), sampler.log_expected_N)
        case _:
            expected = getattr(losses, loss)(*pair, sampler.draw(5))
    torch.testing.assert_close(got, expected)


def test_an_objective_captures_the_layers_and_trains_them() -> None:
    student = model().train()
    config = feature.Config(name="feature", mode="faithful", layer="pairs", width=6)
    objective = feature.Model(config, student, teacher_of(ring(N_ITEMS), width=6))
    objective.attach(student)
    states = student.hidden_states(torch.tensor([[0, 1, 2], [3, 4, 5]]))
    student.scores(states[-1][:, -1], student.item_table())  # what the loss asks for in between is not heard
    assert [tuple(one.shape) for one in objective._captured] == [(2, 3, 6)]
    objective._captured[0].sum().backward()
    assert student.tower.read_item.weight.grad is not None
    objective.detach(student)


def test_objectives_that_require_inner_products_are_refused() -> None:
    student, split = model(), ring(N_ITEMS)
    with pytest.raises(TeacherError, match="inner product"):
        ranking.Model(ranking.Config(name="ranking"), student, teacher_of(split))
    with pytest.raises(RecipeError, match="choose bce"):
        SequenceLoss(split, TrainingConfig(loss="ccl"))(
            student, torch.randn(1, 8), student.item_table(), torch.tensor([1])
        )


def test_no_item_can_be_added_to_its_graph() -> None:
    import onnx

    graph = onnx.load_model_from_string(export_student(model()))
    with pytest.raises(BundleError, match="train again"):
        grow_table(graph, np.zeros((N_ITEMS + 3, 8), np.float32))


def test_parts_and_catalogues_that_cannot_be_are_refused() -> None:
    with pytest.raises(RecipeError, match="holds both parts"):
        parse_section(neumf.Config, {"embedding_dim": 8, "read_dim": 8}, "student")
    with pytest.raises(RecipeError, match="simplex"):
        neumf.Model(neumf.Config(embedding_dim=2, layers=(1 << 13,)), 1 << 17)

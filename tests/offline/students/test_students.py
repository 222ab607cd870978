"""What every student must keep, whoever wrote it. New files in `offline/students/` are found and held to it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from retort.offline.common.plugins import load_plugin, plugin_names
from retort.offline.common.progress import Silent
from retort.offline.distillation import profile
from retort.offline.evaluation.metrics import hit_rate
from retort.offline.evaluation.validate import validation_ranks
from retort.offline.export.onnx import export_student
from retort.offline.students._base import Student
from retort.offline.training.config import TrainingConfig
from retort.offline.training.loop import fit
from retort.shared.base.schema import PAD
from retort.shared.model.scoring import Scorer
from retort.shared.model.sequences import left_pad, right_fill
from tests.offline._worlds import ring, teacher_of

N_ITEMS, MAX_LENGTH, DIM = 12, 6, 16
PACKAGE = "retort.offline.students"


def build(name: str, seed: int = 0) -> Student:
    module = load_plugin(PACKAGE, name)
    torch.manual_seed(seed)
    student: Student = module.Model(module.Config(embedding_dim=DIM, max_length=MAX_LENGTH), N_ITEMS)
    return student.eval()


@pytest.fixture(params=plugin_names(PACKAGE))
def student(request: pytest.FixtureRequest) -> Student:
    return build(request.param)


@pytest.fixture(params=plugin_names(PACKAGE))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def sequences(*rows: list[int], width: int | None = None) -> torch.Tensor:
    width = width or max(len(row) for row in rows)
    return torch.tensor([[PAD] * (width - len(row)) + row for row in rows])


def test_one_state_a_block_of_the_right_shape(student: Student) -> None:
    states = student.hidden_states(sequences([1, 2, 3], [4]))
    assert len(states) == student.n_blocks
    assert {tuple(state.shape) for state in states} == {(2, 3, DIM)}
    assert student.item_table().shape == (N_ITEMS + 1, DIM)


def test_a_row_of_a_batch_equals_the_row_alone(student: Student) -> None:
    together = student.last_state(sequences([1, 2, 3, 4], [5, 6]))
    torch.testing.assert_close(together[1:], student.last_state(sequences([5, 6])), rtol=1e-5, atol=1e-5)


def test_padding_has_no_effect(student: Student) -> None:
    bare = student.hidden_states(sequences([7, 8]))[-1]
    padded = student.hidden_states(sequences([7, 8], width=MAX_LENGTH))[-1][:, -2:]
    torch.testing.assert_close(padded, bare, rtol=1e-5, atol=1e-5)


def skip_unless_causal(student: Student) -> None:
    if not student.causal:
        pytest.skip("this student is bidirectional")


def test_the_newest_state_is_the_last_of_all_states(student: Student) -> None:
    skip_unless_causal(student)
    items_BT = sequences([1, 2, 3], [9])
    torch.testing.assert_close(
        student.last_state(items_BT), student.hidden_states(items_BT)[-1][:, -1], rtol=1e-5, atol=1e-5
    )


def test_no_state_sees_the_future(student: Student) -> None:
    skip_unless_causal(student)
    before = student.hidden_states(sequences([1, 2, 3, 4]))[-1][:, :3]
    after = student.hidden_states(sequences([1, 2, 3, 11]))[-1][:, :3]
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-5)


def test_targets_are_items_of_the_sequence_in_their_place(student: Student) -> None:
    torch.manual_seed(0)
    random_BT = torch.randint(1, N_ITEMS + 1, (64, MAX_LENGTH + 1))
    random_BT[:32, :4] = PAD
    examples = student.examples(random_BT)
    asked_BT = examples.targets_BT != PAD
    same_place_BT = random_BT[:, -examples.targets_BT.shape[1] :]
    assert torch.equal(examples.targets_BT[asked_BT], same_place_BT[asked_BT])
    assert asked_BT.any(1).all()
    assert len(student.hidden_states(examples.items_BT)[-1]) == 64


def test_every_item_can_be_input_and_recommended(name: str, graphs: dict[str, bytes]) -> None:
    """The published code counts items from 0, which is its padding: one item is never told and never shown."""
    student = build(name)
    torch.manual_seed(0)
    asked: set[int] = set()
    for _ in range(30):
        targets_BT = student.examples(torch.randint(1, N_ITEMS + 1, (64, MAX_LENGTH + 1))).targets_BT
        asked |= set(targets_BT[targets_BT != PAD].tolist())
    assert asked == set(range(1, N_ITEMS + 1))
    everything, _ = Scorer(graphs[name], n_items=N_ITEMS, max_length=MAX_LENGTH).top_k([np.array([])], N_ITEMS).row(0)
    assert set(everything) == asked


def test_an_evaluation_during_training_is_deterministic(student: Student) -> None:
    split = ring(N_ITEMS)
    assert split.validation is not None
    expected = validation_ranks(student, split.validation)
    student.train()
    for _ in range(2):
        np.testing.assert_array_equal(validation_ranks(student.train(), split.validation), expected)
        assert not student.training


def test_what_is_added_to_the_items_reaches_input_and_output_and_folds(student: Student) -> None:
    items_BT = sequences([1, 2, 3])
    plain = student.last_state(items_BT).detach()
    extra_ND = torch.randn(N_ITEMS + 1, DIM)
    extra_ND[PAD] = 0
    student.add_to_items(Added(extra_ND))
    state, table_ND = student.last_state(items_BT).detach(), student.item_table().detach()
    assert (state - plain).abs().max() > 1e-3
    folded_weights = student.folded_state()
    student.fold()
    for key, value in student.state_dict().items():
        assert torch.equal(value, folded_weights[key])
    torch.testing.assert_close(student.item_table(), table_ND)
    torch.testing.assert_close(student.last_state(items_BT), state)


class Added:
    """A fixed addition to the item table."""

    def __init__(self, extra_ND: torch.Tensor) -> None:
        self.extra_ND = extra_ND

    def rows(self, items: torch.Tensor) -> torch.Tensor:
        return self.extra_ND[items]

    def table(self) -> torch.Tensor:
        return self.extra_ND


def test_the_order_of_items_matters_as_the_student_declares(student: Student) -> None:
    one, other = student.last_state(sequences([1, 2, 3], [2, 1, 3]))
    if student.ordered:
        assert (one - other).abs().max() > 1e-4
    else:
        torch.testing.assert_close(one, other)


def test_learns_a_ring(name: str, tmp_path: Path) -> None:
    split = ring(N_ITEMS, length=MAX_LENGTH + 4)  # train rows are long enough to train every position
    student = build(name)
    # a row asks a causal student for each of its items, another for one or two
    epochs = 30 if student.causal else 80
    config = TrainingConfig(
        epochs=epochs, batch_size=32, learning_rate=1e-2, loss="full_softmax", patience=epochs, evaluate_every=10
    )
    fitted = fit(student, split, [], config, Silent(), tmp_path)
    # without the order a walk says where it is on the ring, but not which way it goes
    assert hit_rate(validation_ranks(student, split.test), 1 if student.ordered else 2).mean() > 0.95
    assert fitted.log[-1].loss < fitted.log[0].loss


@pytest.mark.parametrize("length", [0, 1, MAX_LENGTH, MAX_LENGTH + 1])
def test_onnx_equals_torch(name: str, graphs: dict[str, bytes], length: int) -> None:
    student = build(name)
    random = np.random.default_rng(length)
    histories = [random.integers(1, N_ITEMS + 1, size=length) for _ in range(3)]
    scorer = Scorer(graphs[name], n_items=N_ITEMS, max_length=MAX_LENGTH)
    ranked = scorer.top_k(histories, k=N_ITEMS)
    with torch.no_grad():
        states_BD = student.last_state(torch.from_numpy(left_pad(histories, MAX_LENGTH)))
        scores_BN = student.scores(states_BD, student.item_table())
    scores_BN.scatter_(1, torch.from_numpy(right_fill(histories)), -torch.inf)
    scores_BN[:, PAD] = -torch.inf
    expected = scores_BN.sort(dim=1, descending=True).values[:, :N_ITEMS].numpy()
    np.testing.assert_allclose(ranked.scores_BK, expected, rtol=1e-4, atol=1e-5)
    for row, history in enumerate(histories):
        items, scores = ranked.row(row)
        assert not set(items) & {PAD, *history.tolist()}
        np.testing.assert_allclose(scores, scores_BN[row, items].numpy(), rtol=1e-4, atol=1e-5)


def test_the_graph_hides_biases_and_fills_up(graphs: dict[str, bytes], name: str) -> None:
    scorer = Scorer(graphs[name], n_items=N_ITEMS, max_length=MAX_LENGTH)
    history = [np.array([1, 2])]
    bias = np.full((1, N_ITEMS + 1), -np.inf, dtype=np.float32)
    bias[0, [3, 4, 5]] = [0.0, 100.0, 0.0]
    items, _ = scorer.top_k(history, k=5, bias=bias).row(0)
    assert items[0] == 4
    assert set(items) == {3, 4, 5}
    assert len(scorer.top_k(history, k=50).items_BK[0]) == 50
    assert not set(scorer.top_k(history, k=50, hidden=[np.array([7])]).row(0)[0]) & {7}


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    return {name: export_student(build(name)) for name in plugin_names(PACKAGE)}


def test_a_distilled_graph_equals_the_plain_one(name: str, tmp_path: Path) -> None:
    plain, distilled = build(name), build(name)
    split = ring(N_ITEMS)
    objective = profile.Model(profile.Config(name="profile", weight=0.5), distilled, teacher_of(split))
    fit(distilled, split, [objective], TrainingConfig(epochs=1), Silent(), tmp_path)
    assert plain.state_dict().keys() == distilled.state_dict().keys()
    assert {k: v.shape for k, v in plain.state_dict().items()} == {
        k: v.shape for k, v in distilled.state_dict().items()
    }


def test_weight_0_is_bit_identical_to_plain(name: str, tmp_path: Path) -> None:
    split = ring(N_ITEMS)
    weights = []
    for run in ("plain", "distilled"):
        (tmp_path / run).mkdir()
        student = build(name)
        objectives = (
            []
            if run == "plain"
            else [profile.Model(profile.Config(name="profile", weight=0.0), student, teacher_of(split))]
        )
        fit(student, split, objectives, TrainingConfig(epochs=2, batch_size=32), Silent(), tmp_path / run)
        weights.append(student.state_dict())
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key


def test_a_graph_holds_no_local_paths(graphs: dict[str, bytes]) -> None:
    for name, graph in graphs.items():
        assert b".py" not in graph, name
        assert b"site-packages" not in graph, name

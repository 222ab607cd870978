import math

import pytest
import torch
from torch.nn import functional

from retort.offline.training import losses

M, N, D = 9, 15, 4


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_CHUNK_ELEMENTS", 40)  # several chunks, the last one shorter


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    states = torch.randn(M, D, dtype=torch.double, requires_grad=True)
    table = torch.randn(N, D, dtype=torch.double, requires_grad=True)
    return states, table, torch.randint(1, N, (M,))


def assert_same(one: torch.Tensor, other: torch.Tensor, leaves: list[torch.Tensor]) -> None:
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for a, b in zip(torch.autograd.grad(one, leaves), torch.autograd.grad(other, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_full_softmax_is_cross_entropy_over_all_items_but_pad() -> None:
    states, table, targets = tensors()
    expected = functional.cross_entropy(states @ table[1:].T, targets - 1)
    assert_same(losses.full_softmax(states, table, targets), expected, [states, table])


def test_full_softmax_in_bf16_is_near() -> None:
    states, table, targets = tensors()
    exact = losses.full_softmax(states.float(), table.float(), targets)
    near = losses.full_softmax(states.float(), table.float(), targets, bf16=True)
    assert near.dtype == torch.float32
    assert near.item() == pytest.approx(exact.item(), rel=2e-2)


def test_sampled_softmax_leaves_the_target_out_of_its_negatives() -> None:
    states, table, targets = tensors()
    negatives = torch.cat([targets[:3], torch.tensor([1, 2, 2, 7])])
    log_expected = torch.randn(N, dtype=torch.double)
    scores = states @ table[negatives].T - log_expected[negatives]
    scores = scores.masked_fill(targets[:, None] == negatives, -torch.inf)
    own = (states * table[targets]).sum(-1) - log_expected[targets]
    expected = functional.cross_entropy(torch.cat([own[:, None], scores], 1), torch.zeros(M, dtype=torch.long))
    assert_same(losses.sampled_softmax(states, table, targets, negatives, log_expected), expected, [states, table])


def test_sampled_softmax_with_every_item_once_is_full_softmax() -> None:
    states, table, targets = tensors()
    negatives = torch.arange(1, N)
    sampled = losses.sampled_softmax(states, table, targets, negatives, torch.zeros(N, dtype=torch.double))
    torch.testing.assert_close(sampled, losses.full_softmax(states, table, targets), rtol=1e-6, atol=1e-6)


def naive_scores(states: torch.Tensor, table: torch.Tensor) -> list[list[torch.Tensor]]:
    """Every score by itself, so that a formula can be written down with plain sums."""
    return [[(state * row).sum() for row in table] for state in states]


def test_gbce_of_a_catalogue_of_one_item_is_finite() -> None:
    states, table = torch.ones(2, 3), torch.ones(2, 3)
    got = losses.gbce(states, table, torch.tensor([1, 1]), torch.tensor([1]), n_items=1, calibration=0.75)
    assert torch.isfinite(got)


@pytest.mark.parametrize("calibration", [0.0, 0.4, 1.0])
def test_gbce_equals_its_formula(calibration: float) -> None:
    """Calibration 0 is BCE with many negatives; 1 weighs the positive by the sampling rate."""
    states, table, targets = tensors()
    negatives = torch.cat([targets[:2], torch.tensor([1, 4, 4, 9])])  # some are the target of a row: left out there
    rate = len(negatives) / (N - 2)
    power = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    scores = naive_scores(states, table)
    total = sum(
        -power * scores[m][targets[m]].sigmoid().log()
        - sum((1 - scores[m][n].sigmoid()).log() for n in negatives.tolist() if n != targets[m])
        for m in range(M)
    )
    got = losses.gbce(states, table, targets, negatives, n_items=N - 1, calibration=calibration)
    assert_same(got, total / M, [states, table])


def test_bce_equals_its_formula() -> None:
    states, table, targets = tensors()
    negatives = targets % (N - 1) + 1
    scores = naive_scores(states, table)
    total = sum(
        -scores[m][targets[m]].sigmoid().log() - (1 - scores[m][negatives[m]].sigmoid()).log() for m in range(M)
    )
    assert isinstance(total, torch.Tensor)
    assert_same(losses.bce(states, table, targets, negatives), total / M, [states, table])


def test_bpr_equals_its_formula() -> None:
    states, table, targets = tensors()
    negatives = targets % (N - 1) + 1
    scores = naive_scores(states, table)
    total = sum(-(scores[m][targets[m]] - scores[m][negatives[m]]).sigmoid().log() for m in range(M))
    assert isinstance(total, torch.Tensor)
    assert_same(losses.bpr(states, table, targets, negatives), total / M, [states, table])


def test_ccl_equals_its_formula() -> None:
    states, table, targets = tensors()
    negatives = torch.cat([targets[:2], torch.tensor([1, 4, 4, 9])])
    total = states.new_zeros(())
    for m in range(M):
        cosines = [functional.cosine_similarity(states[m], row, dim=0) for row in table]
        others = [n for n in negatives.tolist() if n != targets[m]]
        total = total + 1 - cosines[targets[m]] + 7.0 * sum((cosines[n] - 0.1).relu() for n in others) / len(others)
    assert_same(losses.ccl(states, table, targets, negatives, margin=0.1, weight=7.0), total / M, [states, table])


def test_bce_of_an_untrained_student_is_two_log_two() -> None:
    states = torch.zeros(M, D)
    table = torch.zeros(N, D)
    targets = torch.ones(M, dtype=torch.long)
    assert losses.bce(states, table, targets, targets + 1).item() == pytest.approx(2 * math.log(2))


def test_bpr_leaves_out_a_negative_that_is_the_target() -> None:
    states, table, targets = tensors()
    negatives = torch.cat([targets[:2], (targets[2:] % (N - 1)) + 1])
    other = losses.bpr(states[2:], table, targets[2:], negatives[2:])
    assert_same(losses.bpr(states, table, targets, negatives), other, [states, table])


def test_ccl_is_zero_for_a_perfect_target_and_negatives_below_the_margin() -> None:
    table = torch.eye(4)
    states = 3 * table[1:3]
    loss = losses.ccl(states, table, torch.tensor([1, 2]), torch.tensor([1, 2, 3]), margin=0.4, weight=150.0)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    worse = losses.ccl(states, table, torch.tensor([1, 1]), torch.tensor([2]), margin=0.4, weight=2.0)
    assert worse.item() == pytest.approx((0 + (1 + 2 * 0.6)) / 2)


def test_dros_equals_its_formula_and_is_finite_for_large_scores() -> None:
    states, table, targets = tensors()
    weights = losses.dros_weights(torch.arange(N, dtype=torch.double))
    scores = states @ table.T
    errors = (scores - functional.one_hot(targets, N)) ** 2
    expected = (weights * errors / 2.0).exp()[:, 1:].sum(-1).log().mean()
    assert_same(losses.dros(states, table, targets, weights, 2.0), expected, [states, table])
    assert torch.isfinite(losses.dros(100 * states, table, targets, weights, 0.1))

"""The divergence with a tail, taken chunk by chunk, says and teaches what the plain formula does."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from retort.offline.losses import truncated_kl as agreement
from retort.offline.losses.truncated_kl import Weigh, by_current_ranks, rank_weights, tail_divergence
from retort.shared.base.schema import PAD

M, K, D, N, T = 7, 3, 5, 12, 1.7


def by_formula(
    states_MD: Tensor,
    table_ND: Tensor,
    items_MK: Tensor,
    shares_MK: Tensor,
    weights: Tensor | Weigh,
    temperature: float,
) -> Tensor:
    """As one would write it: the whole softmax is held, and autograd finds the way back."""
    scores_MN = states_MD @ table_ND[1:].T
    logs_MN = (scores_MN / temperature).log_softmax(1)
    weights_M = weights if isinstance(weights, Tensor) else weights(slice(None), scores_MN.detach())
    losses = []
    for logs_N, items_K, shares_K in zip(logs_MN, items_MK, shares_MK, strict=True):
        p, logs = shares_K[items_K != PAD], logs_N[items_K[items_K != PAD] - 1]
        rest_p, rest_q = (1 - p.sum()).clamp(min=0), (1 - logs.exp().sum()).clamp(min=1e-6)
        named = (p * (p.clamp(min=1e-12).log() - logs)).sum()
        losses.append(named + rest_p * (rest_p.clamp(min=1e-12).log() - rest_q.log()))
    return (weights_M * torch.stack(losses)).mean()


def example(k: int = K) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """At double precision, so that rounding does not decide: states, table, items, shares, weights."""
    torch.manual_seed(0)
    items = torch.stack([torch.randperm(N - 1)[:k] + 1 for _ in range(M)])
    shares = torch.rand(M, k + 1, dtype=torch.float64).softmax(1)[:, :k]
    states, table = torch.randn(M, D, dtype=torch.float64), torch.randn(N, D, dtype=torch.float64)
    return states, table, items, shares, torch.rand(M, dtype=torch.float64) * 2


def value_and_gradients(way: Callable[..., Tensor], states: Tensor, table: Tensor, *said: object) -> list[Tensor]:
    inputs = states.clone().requires_grad_(), table.clone().requires_grad_()
    loss = way(*inputs, *said, T)
    # a gradient from above other than 1
    return [loss.detach(), *torch.autograd.grad(3 * loss, inputs)]


def assert_same(*given: object) -> None:
    found, wanted = (value_and_gradients(way, *given) for way in (tail_divergence, by_formula))  # type: ignore[arg-type]
    torch.testing.assert_close(found, wanted)


chunks = pytest.mark.parametrize("rows_at_once", [1000, 2])


@chunks
def test_value_and_gradients_are_the_formulas(monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    monkeypatch.setattr(agreement, "_CHUNK_ELEMENTS", rows_at_once * N)
    states, table, items, shares, weights = example()
    items[0, 1:], items[1], weights[2] = PAD, PAD, 0
    shares[3, 0] = 0
    assert_same(states, table, items, shares, weights)
    assert_same(states, table, items, shares * (items != PAD), torch.ones(M))


def test_the_tails_of_both_are_clamped_as_in_the_formula() -> None:
    states, table, items, shares, weights = example()
    shares[0] *= 1.2 / shares[0].sum()  # above 1 by rounding, or worse
    shares[1] /= shares[1].sum()
    states[2] = 200 * table[items[2, 0]]  # the listener leaves its tail less than 1e-6
    states[3] = 200 * table[items[3, 0]]
    shares[3] /= shares[3].sum()
    tail = 1 - (states[2:4] @ table[1:].T / T).softmax(1).gather(1, items[2:4] - 1).sum(1)
    assert (tail < 1e-6).all()
    assert_same(states, table, items, shares, weights)


def test_the_list_may_be_the_whole_catalogue() -> None:
    states, table, items, shares, weights = example(N - 1)
    assert_same(states, table, items, shares / shares.sum(1, keepdim=True), weights)


@chunks
def test_weights_by_current_ranks_have_no_gradient(monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    monkeypatch.setattr(agreement, "_CHUNK_ELEMENTS", rows_at_once * N)
    states, table, items, shares, _ = example()
    targets, theirs = torch.randint(1, N, (M,)), torch.randint(1, N, (M,))
    # the target's score comes from the row of all scores: another product may round the other way
    scores = states @ table[1:].T
    own = scores.gather(1, targets[:, None] - 1)
    assert ((scores - own).abs().sort(1).values[:, 1] > 1e-6).all(), "no near tie decides a rank"
    ranks = (scores >= own).sum(1)
    assert len(set(ranks.tolist())) > 2
    weigh, known = by_current_ranks(targets, theirs), rank_weights(ranks, theirs)[0]
    assert_same(states, table, items, shares, weigh)
    torch.testing.assert_close(
        value_and_gradients(tail_divergence, states, table, items, shares, weigh),
        value_and_gradients(tail_divergence, states, table, items, shares, known),
    )


def test_products_in_bfloat16_are_close() -> None:
    given = [one.float() if one.is_floating_point() else one for one in example()]
    half = value_and_gradients(partial(tail_divergence, bf16=True), *given)  # type: ignore[arg-type]
    exact = value_and_gradients(tail_divergence, *given)  # type: ignore[arg-type]
    assert half[0] != exact[0]
    for near, there in zip(half, exact, strict=True):
        assert (near - there).norm() < 0.02 * there.norm()


def test_ties_count_against_the_true_item() -> None:
    scores = torch.tensor([[2.0, 3.0, 2.0, 1.0]])
    for target, rank in zip(range(1, 5), (3, 1, 3, 4), strict=True):
        weigh = by_current_ranks(torch.tensor([target]), torch.tensor([2]))
        assert weigh(slice(None), scores) == rank_weights(torch.tensor([rank]), torch.tensor([2]))[0]


def test_no_rows_have_no_loss() -> None:
    states, table = torch.zeros(0, D, requires_grad=True), torch.randn(N, D, requires_grad=True)
    loss = tail_divergence(states, table, torch.zeros(0, K, dtype=torch.long), torch.zeros(0, K), torch.zeros(0), T)
    loss.backward()
    assert loss == 0
    assert table.grad is not None
    assert not table.grad.any()

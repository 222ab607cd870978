"""The fused softmax says and teaches what the plain formula does."""

import pytest
import torch
from torch import Tensor

from retort.offline.losses import softmax
from retort.offline.losses.softmax import Competitors, Own, softmax_cross_entropy
from retort.shared.base.schema import PAD

M, K, D, N = 7, 3, 5, 12


def by_formula(states_MD: Tensor, table_ND: Tensor, own: Own, others: Competitors) -> Tensor:
    losses = []
    items_S = torch.arange(1, len(table_ND)) if others.items_S is None else others.items_S
    bias_S = torch.zeros(len(items_S)) if others.bias_S is None else others.bias_S
    bias_MK = torch.zeros(own.items_MK.shape) if own.bias_MK is None else own.bias_MK
    for state, items_K, weights_K, bias_K in zip(states_MD, own.items_MK, own.weights_MK, bias_MK, strict=True):
        real_K = items_K != PAD
        mine = (table_ND[items_K] @ state + bias_K)[real_K]
        theirs = (table_ND[items_S] @ state + bias_S)[~torch.isin(items_S, items_K[real_K])]
        shares = torch.cat([mine, theirs]).log_softmax(0)[: len(mine)]
        losses.append(-(weights_K[real_K] * shares).sum())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("rows_at_once", [1000, 2])
def test_value_and_gradients_are_the_formulas(
    monkeypatch: pytest.MonkeyPatch, *, sampled: bool, rows_at_once: int
) -> None:
    torch.manual_seed(0)
    # rounding at single precision must not decide
    states, table = torch.randn(M, D, dtype=torch.float64), torch.randn(N, D, dtype=torch.float64)
    items = torch.stack([torch.randperm(N - 1)[:K] + 1 for _ in range(M)])
    items[0, 1:], items[1] = PAD, PAD
    weights = torch.rand(M, K, dtype=torch.float64) * (items != PAD)
    drawn = torch.randint(1, N, (9,))
    others = Competitors(drawn, torch.randn(9, dtype=torch.float64)) if sampled else Competitors()
    own = Own(items, weights, torch.randn(M, K, dtype=torch.float64))
    monkeypatch.setattr(softmax, "_CHUNK_ELEMENTS", rows_at_once * (9 + K * D if sampled else N - 1 + K * D))
    monkeypatch.setattr(softmax, "_LEAST_ROWS", 1)
    monkeypatch.setattr(softmax, "_CHUNKS_HELD", 2)  # the last product has fewer rows
    found = []
    for compute in (softmax_cross_entropy, by_formula):
        inputs = states.clone().requires_grad_(), table.clone().requires_grad_()
        loss = compute(*inputs, own, others)
        # a gradient from above other than 1
        (3 * loss).backward()
        found.append((loss.detach().double(), *(one.grad for one in inputs)))
    for mine, wanted in zip(*found, strict=True):
        torch.testing.assert_close(mine, wanted, atol=1e-6, rtol=1e-6)


def test_no_rows_have_no_loss() -> None:
    states, table = torch.zeros(0, D, requires_grad=True), torch.randn(N, D, requires_grad=True)
    none = torch.zeros(0, K, dtype=torch.long)
    loss = softmax_cross_entropy(states, table, Own(none, torch.zeros(0, K)), Competitors())
    loss.backward()
    assert loss == 0
    assert table.grad is not None
    assert not table.grad.any()

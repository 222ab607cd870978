"""The fused softmaxes against the same sums written out for autograd: CPU milliseconds of a step's loss and gradients.

    python -m benchmarks.softmax

Both take turns in one run on one thread, the least of many counts; the last column is their ratio. Sizes are those of
amazon-beauty, 12,101 items. Cross-entropy: a batch's positions, 512 negatives, 64 wide; K = 1 is the student's own
loss, K = 10 a teacher's list. Divergence: the loss of a text encoder in mutual distillation, 512 histories, 192 wide,
50 items and a tail against the whole catalogue; the last column is the time of the three matrix products of both forms.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from retort.offline.losses.softmax import Competitors, Own, softmax_cross_entropy
from retort.offline.losses.truncated_kl import kl_with_tail, tail_divergence
from retort.shared.base.schema import PAD

_TURNS = 30


def written_out(states_MD: Tensor, table_ND: Tensor, own: Own, others: Competitors) -> Tensor:
    """As one would write it: every score and every own item's vector is held for the way back."""
    assert others.items_S is not None
    own_MK = torch.einsum("md,mkd->mk", states_MD, table_ND[own.items_MK])
    others_MS = states_MD @ table_ND[others.items_S].T
    twice_MS = (own.items_MK[:, :, None] == others.items_S).any(1)
    all_M = torch.cat([own_MK, others_MS.masked_fill(twice_MS, -torch.inf)], 1).logsumexp(1, keepdim=True)
    return (own.weights_MK * (all_M - own_MK)).sum(1).mean()


def divergence_written_out(
    states_MD: Tensor, table_ND: Tensor, items_MK: Tensor, shares_MK: Tensor, weights_M: Tensor, temperature: float
) -> Tensor:
    """The whole log-softmax is held for the way back."""
    hidden_N = torch.arange(len(table_ND)) == PAD
    scores_MN = (states_MD @ table_ND.T / temperature).masked_fill(hidden_N, -torch.inf)
    logs_MK = scores_MN.log_softmax(1).gather(1, items_MK)
    return (weights_M * kl_with_tail(shares_MK, logs_MK, items_MK != PAD)).mean()


def milliseconds(loss: Callable[[], Tensor]) -> float:
    started_s = time.process_time()
    loss().backward()
    return (time.process_time() - started_s) * 1000


def least_in_turns(losses: Sequence[Callable[[], Tensor]]) -> list[float]:
    """Return the least CPU milliseconds of each loss; the losses are computed in turns."""
    return np.array([[milliseconds(loss) for loss in losses] for _ in range(_TURNS)]).min(0).tolist()


def cross_entropy(positions: int, negatives: int, width: int, items: int) -> None:
    states_MD = torch.randn(positions, width, requires_grad=True)
    table_ND = (torch.randn(items + 1, width) * 0.1).requires_grad_()
    others = Competitors(torch.randint(1, items + 1, (negatives,)))
    print("K   fused, ms   written out, ms   ratio")
    for k in (1, 10, 50):
        own = Own(torch.randint(1, items + 1, (positions, k)), torch.rand(positions, k))
        fused, plain = least_in_turns(
            [partial(loss, states_MD, table_ND, own, others) for loss in (softmax_cross_entropy, written_out)]
        )
        print(f"{k:<3} {fused:9.1f} {plain:17.1f} {plain / fused:7.2f}")


def divergence(items: int, histories: int = 512, width: int = 192, k: int = 50) -> None:
    # cosines times the text encoder's scale
    states_MD = (functional.normalize(torch.randn(histories, width)) * 16).requires_grad_()
    table_ND = functional.normalize(torch.randn(items + 1, width)).requires_grad_()
    items_MK = torch.randint(1, items + 1, (histories, k))
    shares_MK, weights_M = torch.rand(histories, k + 1).softmax(1)[:, :k], torch.rand(histories) * 2
    fused, half, plain, products = least_in_turns(
        [
            lambda: tail_divergence(states_MD, table_ND, items_MK, shares_MK, weights_M, 2.0),
            lambda: tail_divergence(states_MD, table_ND, items_MK, shares_MK, weights_M, 2.0, bf16=True),
            lambda: divergence_written_out(states_MD, table_ND, items_MK, shares_MK, weights_M, 2.0),
            lambda: (states_MD @ table_ND.T).sum(),
        ]
    )
    print("divergence with a tail: fused, ms   in bfloat16, ms   written out, ms   ratio of each   products alone, ms")
    ratios = f"{plain / fused:.2f}, {plain / half:.2f}"
    print(f"{fused:33.1f} {half:17.1f} {plain:17.1f} {ratios:>15} {products:20.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", type=int, default=1750)
    parser.add_argument("--negatives", type=int, default=512)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--items", type=int, default=12_101)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cross_entropy(args.positions, args.negatives, args.width, args.items)
    divergence(args.items)


if __name__ == "__main__":
    main()

"""The fused softmax against the same sum written out for autograd: CPU milliseconds of one step's loss and gradients.

    python -m benchmarks.softmax

Both take turns in one run on one thread, the least of many counts; the last column is their ratio. K = 1 is the
student's own loss, K = 10 a teacher's list. Sizes are those of amazon-beauty: a batch's positions, 512 negatives, 64
wide, 12,101 items.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from offline.softmax import Competitors, Own, softmax_cross_entropy

_TURNS = 30


def written_out(states_MD: Tensor, table_ND: Tensor, own: Own, others: Competitors) -> Tensor:
    """As one would write it: every score and every own item's vector is held for the way back."""
    assert others.items_S is not None
    own_MK = torch.einsum("md,mkd->mk", states_MD, table_ND[own.items_MK])
    others_MS = states_MD @ table_ND[others.items_S].T
    twice_MS = (own.items_MK[:, :, None] == others.items_S).any(1)
    all_M = torch.cat([own_MK, others_MS.masked_fill(twice_MS, -torch.inf)], 1).logsumexp(1, keepdim=True)
    return (own.weights_MK * (all_M - own_MK)).sum(1).mean()


def milliseconds(loss: Callable[[], Tensor]) -> float:
    started_s = time.process_time()
    loss().backward()
    return (time.process_time() - started_s) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", type=int, default=1750)
    parser.add_argument("--negatives", type=int, default=512)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--items", type=int, default=12_101)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    states_MD = torch.randn(args.positions, args.width, requires_grad=True)
    table_ND = (torch.randn(args.items + 1, args.width) * 0.1).requires_grad_()
    others = Competitors(torch.randint(1, args.items + 1, (args.negatives,)))
    print("K   fused, ms   written out, ms   ratio")
    for k in (1, 10, 50):
        own = Own(torch.randint(1, args.items + 1, (args.positions, k)), torch.rand(args.positions, k))
        ways = [
            lambda own=own, way=way: way(states_MD, table_ND, own, others)
            for way in (softmax_cross_entropy, written_out)
        ]
        taken = np.array([[milliseconds(way) for way in ways] for _ in range(_TURNS)])
        fused, plain = taken.min(0)
        print(f"{k:<3} {fused:9.1f} {plain:17.1f} {plain / fused:7.2f}")


if __name__ == "__main__":
    main()

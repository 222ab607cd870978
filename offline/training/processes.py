"""Training by several processes: each computes the gradients of its rows of every batch, and the gradients are added.

All randomness depends on (seed, epoch) alone and the rows are divided after the batch is drawn, so any number of
processes follows the same loss curve (up to rounding; dropout draws other masks) and resumes any checkpoint.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from retort.offline.training.batches import Batch

# Followers wait for the first process while it prepares data, and this long at most.
_LONGEST_WAIT = timedelta(days=7)


@dataclass(frozen=True)
class Processes:
    """The processes of a training; rank 0 writes checkpoints and reports."""

    rank: int = 0
    count: int = 1

    @classmethod
    def current(cls) -> "Processes":
        """Return the open process group, or a single process."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def part_of(self, batch: Batch) -> Batch:
        """Return this process's rows of a batch; the first row where the batch has too few, see `share`."""
        if self.count == 1:
            return batch
        rows = slice(self.rank, None, self.count) if self.rank < len(batch.users_B) else slice(1)
        # padding is kept: the item after the padding is a target, so another length would be another loss
        return Batch(batch.users_B[rows], batch.sequences_BT[rows], batch.events_BT[rows])

    def share(self, n_targets: int, batch: Batch, device: torch.device) -> float:
        """Return this process's share of the targets of a batch; 0 where its row is another process's too."""
        if self.count == 1:
            return 1.0
        own = n_targets if self.rank < len(batch.users_B) else 0
        total = torch.tensor(float(own), device=device)
        distributed.all_reduce(total)
        return own / max(float(total), 1.0)

    def add_gradients(self, modules: Iterable[nn.Module]) -> None:
        """Replace the gradients by their sums over all processes."""
        if self.count == 1:
            return
        gradients = [one.grad for module in modules for one in module.parameters() if one.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, summed in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def add(self, value: Tensor) -> Tensor:
        """Add up a value over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def of_first(self, value: Any) -> Any:
        """Return the first process's value."""
        values = [value]
        if self.count > 1:
            distributed.broadcast_object_list(values)
        return values[0]

    def gather(self, rows: NDArray[np.int64], values: NDArray[np.int64], n_rows: int) -> NDArray[np.int64]:
        """Return the values of all rows, of which each process has some."""
        if self.count == 1:
            return values
        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, (rows, values))
        joined = np.zeros(n_rows, dtype=np.int64)
        for some_rows, some_values in found:
            joined[some_rows] = some_values
        return joined


def device_of_process() -> torch.device:
    """Return the GPU of this process, which its machine's local rank selects; the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def open_group(**group: Any) -> Processes:
    """Join a group of processes: by NCCL where there are GPUs, else by gloo.

    Args:
        group: init_method, rank and world_size of torch.distributed; without them, torchrun's environment variables.
    """
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(device_of_process())
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=_LONGEST_WAIT, **group)
    return Processes.current()


def close_group() -> None:
    """Leave the group."""
    distributed.destroy_process_group()

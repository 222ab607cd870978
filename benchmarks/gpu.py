"""What a CUDA machine brings, in one call under eight minutes that needs no network and ends by itself.

    python -m benchmarks.gpu [--model FOLDER] [--seconds 450]      on a machine with CUDA
    python -m benchmarks.gpu --cpu --small                         the same code on a CPU, in a minute

1. equality: the losses of the same training steps on this device and on the CPU, float32, small.
2. training: SASRec on synthetic data of MovieLens 20M's size (138 thousand users, 20 million events, 26,744 items; 200
   long, 256 wide, bf16): seconds an epoch from the steps of a fixed time, peak memory, utilisation. Three variants: as
   trained today (attention with a mask), with the flash kernel (the padding is a further feature of the keys, so that
   no mask is needed), and that compiled by torch.compile, which captures CUDA graphs.
3. onnx: ONNX Runtime's CUDA provider behind the scorer that serves, against the CPU: milliseconds and equal items.
4. vllm: profiles a second from a model folder that is given, through the backend that writes profiles.

A part that fails states its error and the others go on. Each figure is printed when it is known; the last line is JSON.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.gpu_inference import onnx, vllm
from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Cases, Split
from retort.offline.evaluation.validate import DEFAULT_EVALUATION
from retort.offline.students import _blocks, sasrec
from retort.offline.training.batches import batches
from retort.offline.training.config import TrainingConfig
from retort.offline.training.training_run import TrainingRun
from retort.shared.model.item_index import ItemIndex

_WARM_UP_STEPS = 5


class TimeUpError(Exception):
    """The time of the whole benchmark is over."""


def synthetic_split(users: int, items: int, events: int) -> Split:
    """Histories of lengths like MovieLens' (log-normal, at least 20), items by Zipf's law."""
    random = np.random.default_rng(0)
    lengths = np.maximum(random.lognormal(size=users), 0.2)
    lengths = np.maximum((lengths * events / lengths.sum()).astype(np.int64), 20)
    share = np.cumsum(1 / np.arange(1, items + 1) ** 0.8)
    values = 1 + np.searchsorted(share, random.random(int(lengths.sum())) * share[-1])
    cases = Cases(np.zeros(1, np.int64), Ragged.of([[1]]), np.ones(1, np.int64))
    index = ItemIndex([f"i{item}" for item in range(items)])
    return Split("refit", tuple(map(str, range(users))), index, Ragged.of_lengths(values, lengths), None, cases)


def new_run(split: Split, size: dict[str, Any], training: dict[str, Any], device: str) -> TrainingRun:
    """A training that has not begun."""
    torch.manual_seed(0)
    student = sasrec.Model(sasrec.Config(**size), len(split.item_index)).to(device)
    return TrainingRun(student, split, [], TrainingConfig(**training), evaluation=DEFAULT_EVALUATION)


def equality(device: str, _: argparse.Namespace) -> dict[str, Any]:
    """Largest relative difference of the losses of twenty equal steps, and of the two attentions."""
    split = synthetic_split(500, 300, 15_000)
    size = {"embedding_dim": 64, "max_length": 50, "dropout": 0.0}
    losses = []
    for where in ("cpu", device):
        run = new_run(split, size, {"loss": "full_softmax", "bf16": False, "batch_size": 64}, where)
        found = _all_batches(run)
        losses.append([float(run.step(next(found), {}, number)) for number in range(20)])
    difference = max(abs(one - other) / abs(one) for one, other in zip(*losses, strict=True))
    if difference > 1e-3:
        raise AssertionError(f"the losses differ by {difference:.2g}")
    return {"largest_relative_difference": difference, "losses": len(losses[0]), "flash": _flash_difference(device)}


def _flash_difference(device: str) -> float:
    """Largest difference between attention with a mask and with a feature of the keys, at real positions."""
    torch.manual_seed(0)
    items_BT = torch.tensor([[0, 0, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6]], device=device)
    query, key, value = torch.randn(3, 2, 2, 6, 32, device=device)
    mask = _blocks.causal_mask(items_BT)
    usual = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    difference = (usual - flash_attention(query, key, value, mask)).abs().amax((1, 3))
    largest = float(difference[items_BT > 0].max())
    if largest > 1e-3:
        raise AssertionError(f"the two attentions differ by {largest:.2g}")
    return largest


def training(device: str, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds an epoch of the three variants."""
    sizes = (2_000, 1_000, 60_000) if args.small else (138_000, 26_744, 20_000_000)
    split = synthetic_split(*sizes)
    student = {"embedding_dim": 64 if args.small else 256, "max_length": 50 if args.small else 200, "dropout": 0.1}
    config = {"batch_size": 64 if args.small else 256, "loss": "sampled_softmax", "negatives": 512, "bf16": True}
    seconds = 5 if args.small else 45
    found: dict[str, Any] = {"users": sizes[0], "events": len(split.train.values)}
    for name, variant in (("masked", _masked), ("flash", _flash), ("compiled", _compiled)):
        if name == "compiled" and device == "cpu":
            continue  # compiling for a CPU takes longer than this whole benchmark
        found[name] = _or_error(lambda variant=variant: _epoch(split, student, config, device, variant, seconds))
        print(f"   {name}: {found[name]}", flush=True)
    return found


def _epoch(
    split: Split,
    student: dict[str, Any],
    config: dict[str, Any],
    device: str,
    variant: Callable[[TrainingRun], Any],
    seconds: float,
) -> dict[str, float]:
    run = new_run(split, student, config, device)
    run.student.train()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    busy: list[int] = []
    with variant(run):
        source = _all_batches(run)
        for number in range(_WARM_UP_STEPS):
            run.step(next(source), {}, number)
        _wait(device)
        started, n_steps = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            run.step(next(source), {}, _WARM_UP_STEPS + n_steps)
            n_steps += 1
            if n_steps % 50 == 0:
                _wait(device)
                busy += _utilisation(device)
        _wait(device)
        step_s = (time.perf_counter() - started) / n_steps
    result = {"step_ms": 1000 * step_s, "epoch_s": step_s * run.steps_per_epoch, "steps": n_steps}
    if device == "cuda":
        result["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        result["utilisation_percent"] = statistics.mean(busy) if busy else float("nan")
    return {name: round(value, 3) for name, value in result.items()}


def _all_batches(run: TrainingRun) -> Iterator[Any]:
    epoch = 0
    while True:
        epoch += 1
        yield from batches(run.windows, run.config.batch_size, 0, epoch)


@contextmanager
def _masked(_: TrainingRun) -> Iterator[None]:
    yield


@contextmanager
def _flash(_: TrainingRun) -> Iterator[None]:
    """Causal attention without a mask, which the flash kernels require."""
    usual = _blocks._attention
    _blocks._attention = flash_attention
    try:
        yield
    finally:
        _blocks._attention = usual


@contextmanager
def _compiled(run: TrainingRun) -> Iterator[None]:
    with _flash(run):
        run.student.hidden_states = torch.compile(run.student.hidden_states, mode="reduce-overhead")  # type: ignore[method-assign]
        yield


def flash_attention(q_BHQd: Tensor, k_BHTd: Tensor, v_BHTd: Tensor, mask_B1QT: Tensor) -> Tensor:
    """Causal attention whose padded keys get a feature that makes their scores −10,000 · scale."""
    dim = q_BHQd.shape[-1]
    # the newest query may attend to every real key
    is_pad_BT = ~mask_B1QT[:, 0, -1, :]
    extra = torch.zeros(8, device=q_BHQd.device, dtype=q_BHQd.dtype)
    extra[0] = 1
    keys_BHT8 = (is_pad_BT[:, None, :, None] * extra * -10_000).expand(-1, k_BHTd.shape[1], -1, -1)
    q = torch.cat([q_BHQd, extra.expand(*q_BHQd.shape[:-1], 8)], -1)
    k = torch.cat([k_BHTd, keys_BHT8.to(k_BHTd.dtype)], -1)
    v = torch.cat([v_BHTd, v_BHTd.new_zeros(*v_BHTd.shape[:-1], 8)], -1)
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=dim**-0.5)[..., :dim]


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _utilisation(device: str) -> list[int]:
    """Percent of the last second in which the GPU was busy, if nvidia-smi can tell."""
    if device != "cuda":
        return []
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
        return [int(out.split()[0])]
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return []


def _or_error(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except TimeUpError:
        raise
    except Exception as error:  # noqa: BLE001 - the other parts go on, whatever a driver raises
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}


def _time_is_up(*_: object) -> None:
    raise TimeUpError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="run on the CPU")
    parser.add_argument("--small", action="store_true", help="small sizes: a minute on a CPU")
    parser.add_argument("--model", type=Path, help="folder of a causal language model, for vLLM")
    parser.add_argument("--seconds", type=int, default=450, help="end after this time, with what is known")
    args = parser.parse_args()
    if not args.cpu and not torch.cuda.is_available():
        sys.exit("there is no CUDA device; --cpu --small runs the same code on a CPU.")
    device = "cpu" if args.cpu else "cuda"
    name = "cpu" if args.cpu else torch.cuda.get_device_name()
    found: dict[str, Any] = {"device": name, "torch": torch.__version__}
    signal.signal(signal.SIGALRM, _time_is_up)
    signal.alarm(args.seconds)
    started = time.perf_counter()
    try:
        for part in (equality, training, onnx, vllm):
            found[part.__name__] = _or_error(lambda part=part: part(device, args))
            print(f"{time.perf_counter() - started:6.1f} s  {part.__name__}: {found[part.__name__]}", flush=True)
    except TimeUpError:
        found["ended"] = f"after {args.seconds} s"
    signal.alarm(0)
    print(json.dumps({"gpu": found}))
    return int(any("error" in part for part in found.values() if isinstance(part, dict)))


if __name__ == "__main__":
    sys.exit(main())

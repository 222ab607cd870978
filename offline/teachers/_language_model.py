"""Causal language models with LoRA weights, and their tuning.

Shapes: R events.
"""

from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retort.offline.losses.divergence import check_epoch
from retort.offline.teachers._train_events import TrainEvents, chunks
from retort.offline.teachers.config import TunedModelConfig, TuningConfig
from retort.offline.teachers.teacher import IntArray
from retort.shared.base.errors import TeacherError

_CLIP_NORM = 1.0


def load_tokenizer(config: TunedModelConfig) -> Any:
    """Load the model's tokenizer, with left padding so that the newest token is last."""
    from transformers import AutoTokenizer

    tokenizer = _loaded(AutoTokenizer, config)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def load_model(config: TunedModelConfig, *, with_lm_head: bool) -> Any:
    """Load the frozen model with new LoRA weights.

    Args:
        config: Model and LoRA settings.
        with_lm_head: Whether the model has its head over tokens; else it returns hidden states only.

    Raises:
        TeacherError: The model cannot be loaded, or has no layers of the given names.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    device = device_of(config)
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    base = _loaded(AutoModelForCausalLM, config, dtype=kind)
    layers = config.lora_layers if isinstance(config.lora_layers, str) else list(config.lora_layers)
    lora = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout, target_modules=layers
    )
    try:
        return get_peft_model(base if with_lm_head else base.base_model, lora).to(device)
    except ValueError as error:
        raise TeacherError(
            f"{config.model} has no layers {layers} for LoRA ({str(error).splitlines()[0]}); name its own in "
            "lora_layers."
        ) from None


def device_of(config: TunedModelConfig) -> torch.device:
    """Return the device of the model."""
    return torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def tune(
    parameters: Iterable[nn.Parameter],
    events: IntArray,
    config: TuningConfig,
    loss_of: Callable[[IntArray], Tensor],
) -> list[float]:
    """Train the parameters with gradients by AdamW with warm-up and cosine decay.

    Args:
        parameters: Parameters; those without gradient stay as they are.
        events: Train events to sample from.
        config: Tuning settings.
        loss_of: Loss of a batch of events.

    Returns:
        The mean loss of each epoch.
    """
    from transformers import get_cosine_schedule_with_warmup

    tuned = [parameter for parameter in parameters if parameter.requires_grad]
    n_rows = min(config.rows or len(events), len(events))
    steps = config.epochs * -(-n_rows // config.batch_size)
    optimizer = torch.optim.AdamW(tuned, lr=config.learning_rate)
    schedule = get_cosine_schedule_with_warmup(optimizer, min(config.warmup_steps, steps // 5), steps)
    random = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)  # dropout
    means = []
    for epoch in range(1, config.epochs + 1):
        losses = []
        for _, part in chunks(random.permutation(events)[:n_rows], config.batch_size):
            loss = loss_of(part)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(tuned, _CLIP_NORM)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        check_epoch(epoch, losses, tuned, "learning_rate of the section of [teacher] that is tuned", optimizer)
        means.append(float(np.mean(losses)) if losses else 0.0)
    return means


def loss_line(losses: Sequence[float]) -> str:
    """Return a line with the loss of the first epoch and, of several, that of the last."""
    first, last = f"{losses[0]:.3f} in epoch 1", f"{losses[-1]:.3f} in epoch {len(losses)}"
    return f"loss {first}, {last}" if len(losses) > 1 else f"loss {first}"


def eligible_events(events: TrainEvents) -> IntArray:
    """Return the events that follow another one.

    Raises:
        TeacherError: There is none.
    """
    found: IntArray = np.flatnonzero(events.nth.numpy() > 0)
    if not len(found):
        raise TeacherError(
            "the language model has no events to evaluate: no train history has two events; give longer histories."
        )
    return found


def evaluated_events(events: TrainEvents, eligible: IntArray, config: TuningConfig) -> IntArray:
    """Return the eligible events that get lists: all, or the newest of each user (`latest`)."""
    return eligible if config.latest is None else eligible[events.left[eligible] <= config.latest]


def template(name: str) -> str:
    """Read a prompt from `templates/`."""
    return (files("retort.offline.teachers") / "templates" / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")


def _loaded(kind: Any, config: TunedModelConfig, **more: Any) -> Any:
    from transformers.utils import logging

    # its progress bar would break ours
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return kind.from_pretrained(config.model, revision=config.revision or "main", **more)
    except (OSError, ValueError) as error:
        raise TeacherError(
            f"the language model {config.model!r} cannot be loaded ({str(error).splitlines()[0]}); name a causal model "
            "of the hub, or a folder that holds one."
        ) from None

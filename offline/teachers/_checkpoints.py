"""Checkpoints of a tuned language model, from which it is resumed: LoRA weights, generated texts, embedded items."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import torch
from torch import Tensor

from retort.offline.teachers.teacher import IntArray

_TEXTS = "generated.jsonl"


class TuningCheckpoints:
    """Checkpoints in a folder; without a folder everything is computed and nothing is stored."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._texts = {} if folder is None else _read_texts(folder / _TEXTS)

    def tensor(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """Return the stored tensor, or compute and store it."""
        from safetensors.torch import load_file, save_file

        if self.folder is None:
            return compute()
        path = self.folder / f"{name}.safetensors"
        if path.exists():
            return load_file(path)[name]
        made = compute()
        _replace(path, lambda partial: save_file({name: made.contiguous()}, partial))
        return made

    def weights(self, name: str, model: Any, train: Callable[[], list[float]]) -> list[float]:
        """Load the stored LoRA weights into the model, or train and store them; return the loss of each epoch."""
        from safetensors import safe_open
        from safetensors.torch import save_file

        if self.folder is None:
            return train()
        path = self.folder / f"{name}.safetensors"
        trained = {key: weight for key, weight in model.named_parameters() if weight.requires_grad}
        if path.exists():
            with safe_open(path, framework="pt") as stored, torch.no_grad():
                for key, weight in trained.items():
                    weight.copy_(stored.get_tensor(key))
                losses: list[float] = orjson.loads(stored.metadata()["losses"])
            return losses
        losses = train()
        tensors = {key: weight.detach().cpu().contiguous() for key, weight in trained.items()}
        metadata = {"losses": orjson.dumps(losses).decode()}
        _replace(path, lambda partial: save_file(tensors, partial, metadata))
        return losses

    def texts(self, fold: int, events: IntArray, generate: Callable[[IntArray], list[str]]) -> list[str]:
        """Return the stored texts of these events, or generate and store them, all at once."""
        keys = [(fold, int(event)) for event in events]
        if not all(key in self._texts for key in keys):
            self._append(keys, generate(events))
        return [self._texts[key] for key in keys]

    def clear(self) -> None:
        """Delete the weights and tensors; the generated texts stay, so that they can be read."""
        for file in [] if self.folder is None else self.folder.glob("*.safetensors"):
            file.unlink()

    def _append(self, keys: Sequence[tuple[int, int]], texts: Sequence[str]) -> None:
        self._texts |= dict(zip(keys, texts, strict=True))
        if self.folder is None:
            return
        with (self.folder / _TEXTS).open("ab") as file:
            for (fold, event), text in zip(keys, texts, strict=True):
                file.write(orjson.dumps({"fold": fold, "event": event, "text": text}) + b"\n")


def _read_texts(path: Path) -> dict[tuple[int, int], str]:
    """Read the stored texts; a line that was cut by a crash is removed, because later lines are appended to it."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        path.write_bytes(whole)
    rows = [orjson.loads(line) for line in whole.splitlines()]
    return {(row["fold"], row["event"]): row["text"] for row in rows}


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file that exists only when it is complete."""
    partial = path.with_suffix(".partial")
    write(partial)
    partial.replace(path)

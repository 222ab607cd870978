"""Tuned-encoder teacher: a sentence encoder tuned so that a history's text is close to the next item's text.

The titles of a history, newest first, are one text; the next item's text is its positive, the other items of the batch
are negatives (multiple-negatives ranking loss, https://arxiv.org/abs/1705.00652, with logQ correction). Only LoRA
weights are trained. Lists are cross-fitted: those of a user come from weights tuned on other users. The tuned item
vectors, which may initialise an item table, are not: they are tuned on train rows and describe no user.
"""

# Shapes: R events, N n_items + 1, E width of the encoder

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from retort.offline.common.progress import Progress
from retort.offline.data.split import Split
from retort.offline.embeddings.encoder_config import EncoderConfig, prefix_for
from retort.offline.embeddings.text_model import load_encoder
from retort.offline.teachers._language_model import eligible_events, evaluated_events, loss_line, tune
from retort.offline.teachers._list_collector import ListBatch, ListCollector, TeacherOutputs, lists_from_cosines
from retort.offline.teachers._train_events import TrainEvents, chunks, user_folds
from retort.offline.teachers.config import TunedEncoderConfig
from retort.offline.teachers.teacher import FloatArray, IntArray
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD

_EVENTS_AT_ONCE = 512
# one encoder reads both sides: without a prefix, a history of one item would equal that item
_HISTORY = "what follows: "


def tuned_encoder_lists(
    split: Split, texts: Sequence[str], encoder: EncoderConfig, config: TunedEncoderConfig, progress: Progress
) -> TeacherOutputs:
    """Tune the encoder for each fold and return its lists.

    Args:
        split: Train histories.
        texts: Text of each item index (N), "" for PAD and for items without one.
        encoder: The recipe's `[encoder]`.
        config: The recipe's `[teacher.tuned_encoder]`.
        progress: Receives progress and losses.
    """
    events = TrainEvents(split.train)
    eligible = _readable(events, texts, config)
    evaluated = evaluated_events(events, eligible, config)
    folds_E = user_folds(len(split.train), config.folds, config.seed)[events.users]
    lists = ListCollector(len(events), evaluated, config.k, config.temperature)
    for fold in range(config.folds):
        tuned = TunedEncoder(events, texts, encoder, config)
        losses = tuned.tune_on(eligible if config.folds == 1 else eligible[folds_E[eligible] != fold])
        progress.say(f"part {fold + 1} of {config.folds}: the encoder is tuned, {loss_line(losses)}")
        mine = evaluated[folds_E[evaluated] == fold]
        for done, part in chunks(mine, _EVENTS_AT_ONCE):
            lists.fill(part, tuned.recommend(part))
            progress.update(f"histories encoded, part {fold + 1} of {config.folds}", done, len(mine))
    outputs = lists.outputs()
    progress.say(f"the tuned encoder finds {outputs.hit_rate:.1%} of the next items (HR@10)")
    return outputs


def tuned_item_vectors(
    split: Split, texts: Sequence[str], encoder: EncoderConfig, config: TunedEncoderConfig, progress: Progress
) -> FloatArray:
    """Tune the encoder on all train rows and return item vectors (N, E) of length 1; zero without a text."""
    events = TrainEvents(split.train)
    tuned = TunedEncoder(events, texts, encoder, config)
    losses = tuned.tune_on(_readable(events, texts, config))
    progress.say(f"the encoder is tuned, {loss_line(losses)}; items are encoded by it")
    vectors: FloatArray = (tuned.items() * tuned.known_N[:, None]).numpy()
    return vectors


class TunedEncoder:
    """Sentence encoder with LoRA weights, and the texts of the items."""

    def __init__(
        self, events: TrainEvents, texts: Sequence[str], encoder: EncoderConfig, config: TunedEncoderConfig
    ) -> None:
        self.events, self.texts, self.config = events, list(texts), config
        self.known_N = _known(texts)
        self.prefixes = prefix_for(encoder, "query") + _HISTORY, prefix_for(encoder, "passage")
        torch.manual_seed(config.seed)
        self.model = _with_lora(encoder, config)
        counts_N = torch.bincount(events.values, minlength=len(texts)).clamp(min=1)
        self.log_share_N = (counts_N / counts_N.sum()).log()
        self._items_NE: Tensor | None = None

    def tune_on(self, events: IntArray) -> list[float]:
        """Train on these events; return the mean loss of each epoch."""
        events = events[self.known_N[self.events.values[torch.from_numpy(events)]].numpy()]
        if len(events) < 2:
            raise TeacherError(
                "nothing to tune the sentence encoder on: too few histories are followed by an item with a text."
            )
        self.model.train()
        losses = tune(self.model.parameters(), events, self.config, self._loss)
        self.model.eval()
        self._items_NE = None
        return losses

    @torch.no_grad()
    def recommend(self, events: IntArray) -> ListBatch:
        """Return the nearest items; a distance is 1 − cosine, and 2 for a true item without a text."""
        self.model.eval()
        cosines_RN = self._encode([self._history(event) for event in events], 0) @ self.items().T
        config = self.config
        sharpness = config.scale / config.temperature
        return lists_from_cosines(
            cosines_RN, self.events, events, self.known_N, config.k, sharpness, hide_seen=config.hide_seen
        )

    @torch.no_grad()
    def items(self) -> Tensor:
        """Return the vectors (N, E) of all item texts, of length 1."""
        if self._items_NE is None:
            self.model.eval()
            self._items_NE = self._encode([text or "-" for text in self.texts], 1)
        return self._items_NE

    def _loss(self, part: IntArray) -> Tensor:
        targets_R = self.events.values[torch.from_numpy(part)]
        histories_RE = self._forward([self._history(event) for event in part], 0)
        near_RE = self._forward([self.texts[int(item)] for item in targets_R], 1)
        logits_RR = histories_RE @ near_RE.T * self.config.scale - self.log_share_N[targets_R].to(histories_RE.device)
        twice_RR = (targets_R[:, None] == targets_R) & ~torch.eye(len(part), dtype=torch.bool)
        places_R = torch.arange(len(part), device=histories_RE.device)
        return functional.cross_entropy(logits_RR.masked_fill(twice_RR.to(histories_RE.device), -torch.inf), places_R)

    def _history(self, event: int) -> str:
        """Texts of the history, newest first, so that truncation drops the oldest."""
        items = self.events.histories(np.array([event]), self.config.history)[0].flip(0).tolist()
        return " | ".join(self.texts[item] for item in items if item != PAD and self.known_N[item])

    def _forward(self, texts: Sequence[str], role: int) -> Tensor:
        read = self.model.preprocess([self.prefixes[role] + text for text in texts])
        read = {key: value.to(self.model.device) if torch.is_tensor(value) else value for key, value in read.items()}
        return functional.normalize(self.model(read)["sentence_embedding"].float(), dim=-1)

    def _encode(self, texts: Sequence[str], role: int) -> Tensor:
        """Encode texts of similar length together, so that little is spent on padding."""
        order = np.argsort([len(text) for text in texts], kind="stable")
        rows = torch.empty(len(texts), self.model.get_embedding_dimension())
        for _, part in chunks(order, self.config.batch_size):
            rows[torch.from_numpy(part)] = self._forward([texts[row] for row in part], role).cpu()
        return rows


def _known(texts: Sequence[str]) -> Tensor:
    return torch.tensor([place != PAD and bool(text.strip()) for place, text in enumerate(texts)])


def _readable(events: TrainEvents, texts: Sequence[str], config: TunedEncoderConfig) -> IntArray:
    """Eligible events whose history has an item with a text."""
    if len(texts) <= int(events.values.max()):
        raise TeacherError(f'{len(texts)} item texts are too few for this split; give one an item, "" for none.')
    eligible, known_N = eligible_events(events), _known(texts)
    read = [known_N[events.histories(part, config.history)].any(1) for _, part in chunks(eligible, _EVENTS_AT_ONCE)]
    readable: IntArray = eligible[torch.cat(read).numpy()]
    if not len(readable):
        raise TeacherError(
            "the sentence encoder has no events to evaluate: no train event follows an item with a text."
        )
    return readable


def _with_lora(encoder: EncoderConfig, config: TunedEncoderConfig) -> Any:
    from peft import LoraConfig, inject_adapter_in_model

    model = load_encoder(encoder)
    model.max_seq_length = min(config.max_tokens, model.max_seq_length or config.max_tokens)
    layers = config.lora_layers if isinstance(config.lora_layers, str) else list(config.lora_layers)
    lora = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout, target_modules=layers
    )
    try:
        # PEFT's own call: transformers refuses some recent versions of PEFT
        inject_adapter_in_model(lora, model)
    except ValueError as error:
        raise TeacherError(
            f"the encoder {encoder.model!r} has no layers {layers} for LoRA ({str(error).splitlines()[0]}); name its "
            "own in lora_layers."
        ) from None
    return model

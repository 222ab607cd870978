"""Title-generation teacher of BIGRec, https://arxiv.org/abs/2308.08434: a language model writes the next item's title.

The model is tuned by LoRA on a few histories; it reads the titles of a history and generates the next one. The
generated title and the titles of all items are embedded by the same model without its LoRA weights (last hidden state
of the last token). The nearest items are the list, and their distances express the confidence. Lists are cross-fitted:
those of a user come from weights tuned on other users (folds = 1 is the paper's method). The paper calls the look-up
grounding, hence the recipe's `[teacher.grounding]`.
"""

# Shapes: R events, N n_items + 1, H width of the model, T tokens

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from retort.offline.common.progress import Progress
from retort.offline.data.split import Split
from retort.offline.teachers._checkpoints import TuningCheckpoints
from retort.offline.teachers._language_model import (
    device_of,
    eligible_events,
    evaluated_events,
    load_model,
    load_tokenizer,
    loss_line,
    template,
    tune,
)
from retort.offline.teachers._list_collector import ListBatch, ListCollector, TeacherOutputs, mask_pad
from retort.offline.teachers._train_events import TrainEvents, chunks, user_folds
from retort.offline.teachers.config import TitleGenerationConfig
from retort.offline.teachers.teacher import IntArray
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD

_NO_LOSS = -100  # what transformers leaves out of the loss
_FEW = 1024  # a separate random stream: the choice of events must not decide their order


def title_generation_lists(
    split: Split,
    titles: Sequence[str],
    config: TitleGenerationConfig,
    progress: Progress,
    work: Path | None = None,
) -> TeacherOutputs:
    """Tune the model for each fold and return its lists.

    Args:
        split: Train histories.
        titles: Title of each item index (N), "" for PAD and for items without one.
        config: The recipe's `[teacher.grounding]`.
        progress: Receives progress and losses.
        work: Folder of the checkpoints; an interrupted run with the same folder continues. None: no checkpoints.

    Raises:
        TeacherError: There are no events to evaluate.
    """
    if len(titles) != len(split.item_index) + 1:
        raise TeacherError(
            f"there are {len(titles)} titles for {len(split.item_index)} items and PAD; give one for each."
        )
    events = TrainEvents(split.train)
    eligible, evaluated = _titled_events(events, titles, config)
    folds_E = user_folds(len(split.train), config.folds, config.seed)[events.users]
    lists = ListCollector(len(events), evaluated, config.k, config.temperature)
    checkpoints = TuningCheckpoints(work)
    items_NH: Tensor | None = None
    for fold in range(config.folds):
        writer = TitleGenerator(events, titles, config)
        # the same in all folds, because LoRA weights are not used
        items_NH = writer.embed_items(items_NH, checkpoints, progress)
        losses = checkpoints.weights(
            f"fold-{fold}",
            writer.model,
            lambda: writer.tune_on(eligible if config.folds == 1 else eligible[folds_E[eligible] != fold]),  # noqa: B023
        )
        progress.say(f"part {fold + 1} of {config.folds}: the language model is tuned, {loss_line(losses)}")
        mine = evaluated[folds_E[evaluated] == fold]
        for done, part in chunks(mine, config.batch_size):
            written = checkpoints.texts(fold, part, writer.write)
            lists.fill(part, writer.look_up(part, written))
            progress.update(f"titles generated, part {fold + 1} of {config.folds}", done, len(mine))
    outputs = lists.outputs()
    progress.say(f"the language model's titles find the next item with {outputs.line()}")
    checkpoints.clear()
    return outputs


def _titled_events(
    events: TrainEvents, titles: Sequence[str], config: TitleGenerationConfig
) -> tuple[IntArray, IntArray]:
    """The eligible events of items with a title, and those of them that get lists."""
    titled_N = np.array([bool(title.strip()) for title in titles])
    eligible = eligible_events(events)
    eligible = eligible[titled_N[events.values.numpy()[eligible]]]
    evaluated = evaluated_events(events, eligible, config)
    if not len(evaluated):
        raise TeacherError(
            "the language model has no events to evaluate: no event with a history is of an item with a title."
        )
    return eligible, evaluated


class TitleGenerator:
    """Language model with LoRA weights that generates titles and looks up the nearest items."""

    def __init__(self, events: TrainEvents, titles: Sequence[str], config: TitleGenerationConfig) -> None:
        self.events, self.titles, self.config = events, list(titles), config
        self.device = device_of(config)
        torch.manual_seed(config.seed)
        self.tokenizer = load_tokenizer(config)
        self.model = load_model(config, with_lm_head=True)
        self.template = template("title_generation")
        self.titled_N = torch.tensor([bool(title.strip()) for title in titles])
        self._items_NH: Tensor | None = None

    def tune_on(self, events: IntArray) -> list[float]:
        """Train on the true titles of a few of these events, the same in all epochs; return the loss of each epoch."""
        n_rows = min(self.config.rows or len(events), len(events))
        few = np.random.default_rng((self.config.seed, _FEW)).choice(events, n_rows, replace=False)
        self.model.train()
        return tune(self.model.parameters(), few, self.config, self._loss)

    def write(self, events: IntArray) -> list[str]:
        """Generate the next title after each history, by greedy decoding."""
        self.model.eval()
        read = self._padded([self._prompt(event) for event in events])
        with torch.no_grad():
            out = self.model.generate(
                **read,
                max_new_tokens=self.config.max_new_tokens,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        texts = self.tokenizer.batch_decode(out[:, read["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip().split("\n")[0] for text in texts]

    def recommend(self, events: IntArray) -> ListBatch:
        """Generate titles and return the nearest items."""
        return self.look_up(events, self.write(events))

    @torch.no_grad()
    def look_up(self, events: IntArray, written: Sequence[str]) -> ListBatch:
        """Return the items nearest to titles that were generated after each history.

        Distances are squared Euclidean, logits are −distance / deviation of the row.
        """
        written_RH = self.embed(written)
        distances_RN = torch.cdist(written_RH, self._items()).square()
        targets_R1 = self.events.values[torch.from_numpy(events)][:, None]
        d_star_R = distances_RN.gather(1, targets_R1)[:, 0]
        near_RN = -distances_RN
        near_RN[:, ~self.titled_N] = -torch.inf
        if self.config.hide_seen:
            self.events.hide_seen(near_RN, events)
        mask_pad(near_RN)
        ranks_R = (near_RN >= near_RN.gather(1, targets_R1)).sum(1)
        best = near_RN.topk(min(self.config.k, near_RN.shape[1]), dim=1)
        items_RK = best.indices.masked_fill(best.values.isneginf(), PAD)
        deviation_R1 = distances_RN[:, self.titled_N].std(dim=1, keepdim=True).clamp(min=1e-6)
        logs_RN = (near_RN / deviation_R1 / self.config.temperature).log_softmax(-1)
        return ListBatch(items_RK, -best.values, logs_RN.gather(1, best.indices).exp(), ranks_R, d_star_R)

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Return the last hidden state (R, H) of the last token, without the LoRA weights, on the CPU."""
        self.model.eval()
        ids = [self._ids(text) or [self.tokenizer.eos_token_id] for text in texts]
        # similar lengths together, so that little is padded
        order = np.argsort([len(row) for row in ids], kind="stable")
        states_RH = torch.zeros(len(texts), self.model.config.hidden_size)
        for _, part in chunks(order, self.config.batch_size):
            with self.model.disable_adapter():
                out = self.model(
                    **self._padded([ids[row] for row in part]),
                    output_hidden_states=True,
                    use_cache=False,
                    logits_to_keep=1,
                )
            states_RH[torch.from_numpy(part)] = out.hidden_states[-1][:, -1].float().cpu()
        return states_RH

    def embed_items(self, known_NH: Tensor | None, checkpoints: TuningCheckpoints, progress: Progress) -> Tensor:
        """Embed the titles of all items (N, H), unless they are known; log when they are embedded."""
        if known_NH is None:
            progress.say(f"{int(self.titled_N.sum()):,} titles are embedded by {Path(self.config.model).name}")
            known_NH = checkpoints.tensor("items", self._items)
        self._items_NH = known_NH
        return known_NH

    def _items(self) -> Tensor:
        """(N, H): embedded once, because LoRA weights are not used."""
        if self._items_NH is None:
            self._items_NH = self.embed(self.titles)
        return self._items_NH

    def _loss(self, part: IntArray) -> Tensor:
        """Cross-entropy of the true title's tokens and the end token."""
        prompts = [self._prompt(event) for event in part]
        wanted = [self._title(int(self.events.values[event])) for event in part]
        read = self._padded([prompt + title for prompt, title in zip(prompts, wanted, strict=True)])
        longest = max(map(len, wanted))
        labels_RT = torch.full((len(wanted), longest), _NO_LOSS)
        for row, title in enumerate(wanted):
            labels_RT[row, -len(title) :] = torch.tensor(title)
        # scores over the vocabulary only where a title's token is predicted: titles are last, by left padding
        logits_RTV = self.model(**read, use_cache=False, logits_to_keep=longest + 1).logits[:, :-1]
        return functional.cross_entropy(
            logits_RTV.float().flatten(0, 1), labels_RT.to(self.device).flatten(), ignore_index=_NO_LOSS
        )

    def _prompt(self, event: int) -> list[int]:
        """Prompt of an event; older titles are dropped where it would be too long."""
        history = self.events.histories(np.array([event]), self.config.history)[0]
        names = [self.titles[int(item)] for item in history if item != PAD and self.titles[int(item)].strip()]
        room = self.config.max_tokens - self.config.max_new_tokens
        for first in range(len(names) + 1):
            said = "\n".join(names[first:]) or "-"
            ids: list[int] = self.tokenizer(self.template.format(history=said))["input_ids"]
            if len(ids) <= room:
                return ids
        return ids[-room:]

    def _title(self, item: int) -> list[int]:
        return [*self._ids(" " + self.titles[item])[: self.config.max_new_tokens - 1], self.tokenizer.eos_token_id]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _padded(self, ids: list[list[int]]) -> dict[str, Any]:
        return dict(self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.device))

"""Item-head teacher of E4SRec, https://arxiv.org/abs/2312.02443: a language model reads the student's item vectors.

Each item of a history is one soft token, a linear map of the student's item vector. LoRA weights are tuned, and the
last hidden state is mapped to one score per item. No texts are needed. The item vectors are frozen here; mutual
distillation replaces them in each loop.
"""

# Shapes: R events, L history length, D width of the student's items, H width of the model, N n_items + 1

import torch
from torch import Tensor, nn
from torch.nn import functional

from retort.offline.teachers._language_model import (
    device_of,
    eligible_events,
    evaluated_events,
    load_model,
    load_tokenizer,
    template,
    tune,
)
from retort.offline.teachers._list_collector import ListBatch, lists_from_logits, mask_pad
from retort.offline.teachers._train_events import TrainEvents
from retort.offline.teachers._trainable import StudentPredictions
from retort.offline.teachers.config import ItemHeadConfig
from retort.offline.teachers.teacher import IntArray
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD


class ItemHead:
    """A trainable teacher; its lists have k items, with probabilities at `temperature`."""

    def __init__(self, events: TrainEvents, n_items: int, config: ItemHeadConfig, k: int, temperature: float) -> None:
        self.events, self.config = events, config
        self.k, self.temperature = k, temperature
        self.hides_seen = config.hide_seen
        self.eligible = eligible_events(events)
        self.device = device_of(config)
        torch.manual_seed(config.seed)
        self.model = load_model(config, with_lm_head=False)
        width = self.model.config.hidden_size
        self.head = nn.Linear(width, n_items + 1).to(self.device)
        self.before_HS, self.after_HS = self._prompt()
        self.items_ND: Tensor | None = None
        self.read: nn.Linear | None = None

    @property
    def evaluated(self) -> IntArray:
        return evaluated_events(self.events, self.eligible, self.config)

    def set_item_vectors(self, vectors_ND: Tensor) -> None:
        """Use the student's item vectors, scaled to mean length √width so that the student's scale has no effect."""
        lengths_N = vectors_ND[PAD + 1 :].float().norm(dim=-1)
        scale = vectors_ND.shape[1] ** 0.5 / lengths_N.mean().clamp(min=1e-6)
        self.items_ND = (vectors_ND.float() * scale).to(self.device)
        if self.read is None:
            width = self.model.config.hidden_size
            self.read = nn.Linear(vectors_ND.shape[1], width).to(self.device)
            # the same scale as the word embeddings
            deviation = self.model.get_input_embeddings().weight.float().std()
            nn.init.normal_(self.read.weight, std=float(deviation) / vectors_ND.shape[1] ** 0.5)
            nn.init.zeros_(self.read.bias)

    def tune_on(self, events: IntArray, student: StudentPredictions | None) -> float:
        """Train with softmax over the items and the student's predictions; return the mean loss of the last epoch."""
        if self.read is None:
            raise TeacherError(
                "the item-head teacher has no item vectors; it requires a student (mutual distillation)."
            )
        self.model.train()

        def loss_of(part: IntArray) -> Tensor:
            states_RH, targets_R = self._states(part), self._targets(part)
            own = functional.cross_entropy(self.head(states_RH)[:, PAD + 1 :], targets_R - PAD - 1)
            if student is None or student.weight == 0:
                return own
            # the bias is one more component of the item, multiplied by 1
            table_NH = torch.cat([self.head.weight, self.head.bias[:, None]], 1)
            return own + student.loss(functional.pad(states_RH, (0, 1), value=1.0), table_NH, part, targets_R)

        modules = (self.model, self.head, self.read)
        return tune((weight for module in modules for weight in module.parameters()), events, self.config, loss_of)[-1]

    @torch.no_grad()
    def recommend(self, events: IntArray) -> ListBatch:
        """Return lists whose distances are −log of the item's probability."""
        self.model.eval()
        pieces = [self._logits(part) for part in _split(events, self.config.batch_size)]
        logits_RN = torch.cat(pieces).cpu()
        mask_pad(logits_RN)
        if self.hides_seen:
            self.events.hide_seen(logits_RN, events)
        return lists_from_logits(logits_RN, self._targets(events).cpu(), self.k, self.temperature)

    def _logits(self, events: IntArray) -> Tensor:
        """(R, N)."""
        return self.head(self._states(events))

    def _states(self, events: IntArray) -> Tensor:
        """(R, H): state of the last token of prompt, soft items, prompt."""
        assert self.read is not None
        assert self.items_ND is not None
        items_RL = self.events.histories(events, self.config.history).to(self.device)
        soft_RLH = self.read(self.items_ND[items_RL]).to(self.before_HS.dtype)
        n_rows = len(items_RL)
        inputs_RTH = torch.cat(
            [self.before_HS.expand(n_rows, -1, -1), soft_RLH, self.after_HS.expand(n_rows, -1, -1)], 1
        )
        real_RT = torch.ones(inputs_RTH.shape[:2], dtype=torch.long, device=self.device)
        first = self.before_HS.shape[1]
        real_RT[:, first : first + items_RL.shape[1]] = items_RL != PAD
        places_RT = (real_RT.cumsum(1) - 1).clamp(min=0)
        out = self.model(inputs_embeds=inputs_RTH, attention_mask=real_RT, position_ids=places_RT, use_cache=False)
        return out.last_hidden_state[:, -1].float()

    def _targets(self, events: IntArray) -> Tensor:
        return self.events.values[torch.from_numpy(events)].to(self.device)

    def _prompt(self) -> tuple[Tensor, Tensor]:
        """Embeddings (1, words, H) of the prompt before and after the items."""
        tokenizer = load_tokenizer(self.config)
        before, after = template("item_head").split("{items}")
        words = [
            tokenizer(text, add_special_tokens=not place)["input_ids"] for place, text in enumerate((before, after))
        ]
        embed = self.model.get_input_embeddings()
        with torch.no_grad():
            one, other = (embed(torch.tensor([ids], device=self.device)) for ids in words)
        return one, other


def _split(events: IntArray, size: int) -> list[IntArray]:
    return [events[first : first + size] for first in range(0, len(events), size)]

"""Text-encoder teacher: recommends the items nearest to the weighted mean of a history's text vectors.

It needs no language model other than the text encoder. Tuning trains one linear map for histories and one for items, so
that a history is close to the next item. Lists are cross-fitted: those of a user come from maps that were tuned on
other users.
"""

# Shapes: R evaluated events, E width of text vectors, P kept components, N n_items + 1, K list length,
#         D student's width

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from retort.offline.common.progress import Progress
from retort.offline.data.split import Split
from retort.offline.losses.divergence import check_epoch
from retort.offline.teachers._list_collector import ListBatch, ListCollector, TeacherOutputs, lists_from_cosines
from retort.offline.teachers._train_events import TrainEvents, chunks, user_folds
from retort.offline.teachers._trainable import StudentPredictions
from retort.offline.teachers.config import TextEncoderConfig
from retort.offline.teachers.teacher import BoolArray, FloatArray, IntArray
from retort.shared.base.errors import TeacherError

_EVENTS_AT_ONCE = 2048


class Reader(nn.Module):
    """Linear maps of histories and items into one space; both start as the identity."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.history = nn.Linear(width, width, bias=False)
        self.item = nn.Linear(width, width, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(scale).log())
        for side in (self.history, self.item):
            nn.init.eye_(side.weight)

    def read(self, histories_RP: Tensor) -> Tensor:
        """Return the mapped histories (R, P), of length 1."""
        return functional.normalize(self.history(histories_RP), dim=-1)

    def items(self, vectors_NP: Tensor) -> Tensor:
        """Return the mapped items (N, P), of length 1."""
        return functional.normalize(self.item(vectors_NP), dim=-1)


def text_encoder_lists(
    split: Split, item_vectors: FloatArray, has_item: BoolArray, config: TextEncoderConfig, progress: Progress
) -> TeacherOutputs:
    """Tune the maps and return lists for the train events that follow an item with a text.

    Raises:
        TeacherError: No item has a text vector, or no event follows an item with a text.
    """
    questions = TrainEvents(split.train)
    encoder = TextEncoder(questions, item_vectors, has_item, config)
    events, evaluated = encoder.eligible, encoder.evaluated
    n_folds = max(1, config.folds)
    folds_E = user_folds(len(split.train), n_folds, config.seed)[questions.users]
    lists = ListCollector(len(questions), evaluated, config.k, config.temperature)
    for fold in range(n_folds):
        mine = evaluated[folds_E[evaluated] == fold]
        encoder = TextEncoder(questions, item_vectors, has_item, config)
        if config.folds > 1:
            encoder.tune_on(events[folds_E[events] != fold], None)
        for done, part in chunks(mine, _EVENTS_AT_ONCE):
            lists.fill(part, encoder.recommend(part))
            progress.update(f"text encoder, part {fold + 1} of {n_folds}", done, len(mine))
    outputs = lists.outputs()
    progress.say(f"the text encoder finds the next item of users it was not tuned on with {outputs.line()}")
    return outputs


class TextEncoder:
    """Text-encoder teacher; in mutual distillation it also reads the student's item vectors."""

    def __init__(
        self, events: TrainEvents, item_vectors: FloatArray, has_item: BoolArray, config: TextEncoderConfig
    ) -> None:
        if not has_item.any():
            raise TeacherError(
                "the text encoder has no input: no item of this split has a text vector; give the items a text."
            )
        self.events, self.config = events, config
        self.known_N = torch.from_numpy(has_item)
        self.text_NP = self.vectors_NP = _components(item_vectors, has_item, config.width)
        self.hides_seen = config.hide_seen
        self.reader: Reader | None = None
        every = np.arange(len(events))
        read = [self._histories(part)[1] for _, part in chunks(every, _EVENTS_AT_ONCE)]
        self.eligible: IntArray = every[(torch.cat(read) > 0).numpy()] if read else every
        if not len(self.eligible):
            raise TeacherError(
                "the text encoder has no events to evaluate: no train event follows an item with a text."
            )

    @property
    def evaluated(self) -> IntArray:
        """Eligible events that get lists."""
        latest = self.config.latest
        return self.eligible if latest is None else self.eligible[self.events.left[self.eligible] <= latest]

    def set_item_vectors(self, vectors_ND: Tensor) -> None:
        """Concatenate the student's item vectors to the texts; the maps keep their weights."""
        student_ND = self.config.id_weight * functional.normalize(vectors_ND.float(), dim=-1)
        self.vectors_NP = torch.cat([self.text_NP, student_ND * self.known_N[:, None]], 1)

    def tune_on(self, events: IntArray, student: StudentPredictions | None) -> float:
        """Train the maps by softmax over the batch's items with logQ correction; return the last epoch's mean loss.

        The student's predictions are compared over the whole catalogue.
        """
        config, reader = self.config, self._tuned_reader()
        events = events[self.known_N[self.events.values[torch.from_numpy(events)]].numpy()]
        optimizer = torch.optim.AdamW(reader.parameters(), lr=config.learning_rate, weight_decay=0.01)
        counts_N = torch.bincount(self.events.values, minlength=len(self.vectors_NP)).clamp(min=1)
        log_share_N = (counts_N / counts_N.sum()).log()
        random = np.random.default_rng(config.seed)
        losses: list[float] = []
        for epoch in range(1, config.epochs + 1):
            losses.clear()
            for _, part in chunks(random.permutation(events), config.batch_size):
                loss = self._loss(reader, part, log_share_N, student)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            check_epoch(epoch, losses, reader.parameters(), "[teacher.text_encoder] learning_rate", optimizer)
        return float(np.mean(losses)) if losses else 0.0

    @torch.no_grad()
    def recommend(self, events: IntArray) -> ListBatch:
        """Return the nearest items; a distance is 1 − cosine, and 2 for a true item without a text."""
        reader, config = self._tuned_reader(), self.config
        histories_RP, _ = self._histories(events)
        cosines_RN = reader.read(histories_RP) @ reader.items(self.vectors_NP).T
        sharpness = reader.log_scale.exp() / config.temperature
        return lists_from_cosines(
            cosines_RN, self.events, events, self.known_N, config.k, sharpness, hide_seen=config.hide_seen
        )

    def _loss(
        self, reader: "Reader", part: IntArray, log_share_N: Tensor, student: StudentPredictions | None
    ) -> Tensor:
        targets_R = self.events.values[torch.from_numpy(part)]
        histories_RP = reader.read(self._histories(part)[0])
        near_RP = reader.items(self.vectors_NP[targets_R])
        logits_RR = histories_RP @ near_RP.T * reader.log_scale.exp() - log_share_N[targets_R]
        twice_RR = (targets_R[:, None] == targets_R) & ~torch.eye(len(part), dtype=torch.bool)
        own = functional.cross_entropy(logits_RR.masked_fill(twice_RR, -torch.inf), torch.arange(len(part)))
        if student is None or student.weight == 0:
            return own
        return own + student.loss(histories_RP * reader.log_scale.exp(), reader.items(self.vectors_NP), part, targets_R)

    def _tuned_reader(self) -> "Reader":
        """The maps; made when first needed, because their width is unknown before."""
        if self.reader is None:
            with torch.random.fork_rng():
                self.reader = Reader(self.vectors_NP.shape[1], self.config.scale)
        return self.reader

    def _histories(self, events: IntArray) -> tuple[Tensor, Tensor]:
        """(R, P) weighted means of the items before each event, and (R,) their total weights."""
        here = torch.from_numpy(events)
        total_RP = torch.zeros(len(events), self.vectors_NP.shape[1])
        weight_R = torch.zeros(len(events))
        for lag in range(1, self.config.history + 1):
            items, there = self.events.before(here, lag)
            share_R = (there & self.known_N[items]) * self.config.decay ** (lag - 1)
            total_RP += share_R[:, None] * self.vectors_NP[items]
            weight_R += share_R
        return total_RP / weight_R.clamp(min=1e-6)[:, None], weight_R


def _components(vectors: FloatArray, has_item: BoolArray, width: int) -> Tensor:
    """(N, P): first principal components of the centred text vectors; rows without a text are zero."""
    known = vectors[has_item].astype(np.float64)
    centred = known - known.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    kept = directions[:, np.argsort(-variances)[: min(width, len(variances))]]
    components = np.zeros((len(vectors), kept.shape[1]), dtype=np.float32)
    components[has_item] = centred @ kept
    return functional.normalize(torch.from_numpy(components), dim=-1)

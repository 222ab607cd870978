"""A teacher that reads: a history is the weighted mean of its items' text vectors, and what stands near is recommended.

It needs no language model beside the text encoder. Tuned, one linear map a side brings a history's text close to the
text of the item that followed. It is cross-fitted: the lists of a user come from maps that were tuned on other users,
never on the rows they are asked about.
"""

# Shapes: R asked events, E width of the text vectors, P kept components, N n_items + 1, K list length, L history length

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from offline.data.ragged import Ragged
from offline.data.split import Split
from offline.progress import Progress
from offline.teachers.teacher import BoolArray, Distributions, FloatArray, IntArray, Rankings
from offline.teachers.text_encoder_config import TextEncoderConfig
from shared.errors import TeacherError
from shared.schema import PAD

_EVENTS_AT_ONCE = 2048
_MOST_HIDDEN = 200  # events back for which an item is kept out of the list


@dataclass(frozen=True)
class Told:
    """The teacher's answers for every train event that has a history, and how good they are on rows it never saw."""

    rankings: Rankings
    distributions: Distributions
    hit_rate: float


class Reader(nn.Module):
    """Histories and items in one space; untuned, the space is the text's own."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.history = nn.Linear(width, width, bias=False)
        self.item = nn.Linear(width, width, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(scale).log())
        for side in (self.history, self.item):
            nn.init.eye_(side.weight)

    def read(self, histories_RP: Tensor) -> Tensor:
        """(R, P), of length 1."""
        return functional.normalize(self.history(histories_RP), dim=-1)

    def items(self, vectors_NP: Tensor) -> Tensor:
        """(N, P), of length 1."""
        return functional.normalize(self.item(vectors_NP), dim=-1)


def text_encoder_lists(
    split: Split, item_vectors: FloatArray, has_item: BoolArray, config: TextEncoderConfig, progress: Progress
) -> Told:
    """Ask for every train event that follows an item with a text. Raises TeacherError where there is none."""
    if not has_item.any():
        raise TeacherError("the text encoder has nothing to read: no item of this split has a text vector.")
    vectors_NP, known_N = _components(item_vectors, has_item, config.width), torch.from_numpy(has_item)
    reading = _Reading(split.train, vectors_NP, known_N, config)
    events = reading.askable
    if not len(events):
        raise TeacherError("the text encoder is asked nothing: no train row goes on after an item with a text.")
    users = np.repeat(np.arange(len(split.train)), split.train.lengths)
    folds = np.random.default_rng(config.seed).integers(max(1, config.folds), size=len(split.train))
    asked = events if config.latest is None else events[reading.left[events] <= config.latest]
    lists = _Lists(len(asked), config)
    row_of = np.full(len(split.train.values), -1, dtype=np.int64)
    row_of[asked] = np.arange(len(asked))
    for fold in range(max(1, config.folds)):
        mine = asked[folds[users[asked]] == fold]
        others = events[folds[users[events]] != fold]
        reader = _tuned(reading, others, config) if config.folds > 1 else Reader(vectors_NP.shape[1], config.scale)
        for done, part in _parts(mine):
            lists.fill(row_of[part], *_answers(reader, reading, part, config))
            progress.update(f"text encoder, part {fold + 1} of {max(1, config.folds)}", done, len(mine))
    told = lists.told(row_of)
    progress.say(f"the text encoder finds {told.hit_rate:.1%} of the next items of users it was not tuned on (HR@10)")
    return told


class _Reading:
    """Histories of train events as mean text vectors."""

    def __init__(self, train: Ragged, vectors_NP: Tensor, known_N: Tensor, config: TextEncoderConfig) -> None:
        self.values = torch.from_numpy(train.values)
        self.vectors_NP, self.known_N = vectors_NP, known_N
        self.config = config
        # how many events of the same user stand before each
        nth = np.arange(len(train.values)) - np.repeat(train.offsets[:-1], train.lengths)
        self.nth = torch.from_numpy(nth)
        # how many stand after each, itself counted
        self.left: IntArray = np.repeat(train.lengths, train.lengths) - nth
        every = np.arange(len(train.values))
        read = torch.cat([self.of(part)[1] for _, part in _parts(every)]) if len(every) else torch.zeros(0)
        self.askable: IntArray = every[(read > 0).numpy()]

    def of(self, events: IntArray) -> tuple[Tensor, Tensor]:
        """(R, P) weighted means of the items before each event, and (R,) the weight they had in all."""
        here = torch.from_numpy(events)
        total_RP = torch.zeros(len(events), self.vectors_NP.shape[1])
        weight_R = torch.zeros(len(events))
        for lag in range(1, self.config.history + 1):
            items, there = self._before(here, lag)
            share_R = (there & self.known_N[items]) * self.config.decay ** (lag - 1)
            total_RP += share_R[:, None] * self.vectors_NP[items]
            weight_R += share_R
        return total_RP / weight_R.clamp(min=1e-6)[:, None], weight_R

    def hide(self, scores_RN: Tensor, events: IntArray) -> None:
        """Put −inf on PAD, items without a text, and (if told) what the user had before; never on the true item."""
        here = torch.from_numpy(events)
        rows = torch.arange(len(events))
        true_R = scores_RN[rows, self.values[here]]
        if not self.known_N[PAD + 1 :].all():
            scores_RN[:, ~self.known_N] = -torch.inf
        lags = min(_MOST_HIDDEN, int(self.nth[here].max())) if self.config.hide_seen else 0
        for lag in range(1, lags + 1):
            items, there = self._before(here, lag)
            scores_RN[rows[there], items[there]] = -torch.inf
        scores_RN[rows, self.values[here]] = true_R
        scores_RN[:, PAD] = -torch.inf

    def _before(self, events_R: Tensor, lag: int) -> tuple[Tensor, Tensor]:
        there_R = self.nth[events_R] >= lag
        return self.values[(events_R - lag).clamp(min=0)], there_R


def _tuned(reading: _Reading, events: IntArray, config: TextEncoderConfig) -> Reader:
    """Bring histories and next items together: softmax over the batch's items, corrected by how often each occurs."""
    known = reading.known_N[reading.values[torch.from_numpy(events)]].numpy()
    events = events[known]
    torch_state = torch.random.get_rng_state()
    reader = Reader(reading.vectors_NP.shape[1], config.scale)
    torch.random.set_rng_state(torch_state)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=config.learning_rate, weight_decay=0.01)
    counts_N = torch.bincount(reading.values, minlength=len(reading.vectors_NP)).clamp(min=1)
    log_share_N = (counts_N / counts_N.sum()).log()
    random = np.random.default_rng(config.seed)
    for _ in range(config.epochs):
        for _, part in _parts(random.permutation(events), config.batch_size):
            targets_R = reading.values[torch.from_numpy(part)]
            said_RP = reader.read(reading.of(part)[0])
            near_RP = reader.items(reading.vectors_NP[targets_R])
            logits_RR = said_RP @ near_RP.T * reader.log_scale.exp() - log_share_N[targets_R]
            twice_RR = (targets_R[:, None] == targets_R) & ~torch.eye(len(part), dtype=torch.bool)
            loss = functional.cross_entropy(logits_RR.masked_fill(twice_RR, -torch.inf), torch.arange(len(part)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return reader


@torch.no_grad()
def _answers(
    reader: Reader, reading: _Reading, events: IntArray, config: TextEncoderConfig
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """items (R, K), distances (R, K), shares (R, K), rank of the true item (R,), its distance (R,)."""
    cosines_RN = reader.read(reading.of(events)[0]) @ reader.items(reading.vectors_NP).T
    true_R1 = reading.values[torch.from_numpy(events)][:, None]
    has_text_R = reading.known_N[true_R1[:, 0]]
    d_star_R = torch.where(has_text_R, 1 - cosines_RN.gather(1, true_R1)[:, 0], 2.0)  # the farthest there is
    cosines_RN[~has_text_R, true_R1[~has_text_R, 0]] = -torch.inf
    reading.hide(cosines_RN, events)
    ranks_R = (cosines_RN >= cosines_RN.gather(1, true_R1)).sum(1)
    sharpness = reader.log_scale.exp() / config.temperature
    best = cosines_RN.topk(min(config.k, cosines_RN.shape[1]), dim=1)
    none_RK = best.values.isneginf()
    items_RK = best.indices.masked_fill(none_RK, PAD)
    log_mass_R1 = cosines_RN.mul_(sharpness).logsumexp(-1, keepdim=True)
    shares_RK = (best.values * sharpness - log_mass_R1).exp()
    return items_RK, 1 - best.values, shares_RK, ranks_R, d_star_R


class _Lists:
    """Answers put together from parts."""

    def __init__(self, n_rows: int, config: TextEncoderConfig) -> None:
        self.temperature = config.temperature
        self.items = np.full((n_rows, config.k), PAD, dtype=np.int64)
        self.distances = np.full((n_rows, config.k), np.inf, dtype=np.float32)
        self.shares = np.zeros((n_rows, config.k), dtype=np.float32)
        self.ranks = np.zeros(n_rows, dtype=np.int64)
        self.d_star = np.zeros(n_rows, dtype=np.float32)

    def fill(
        self, rows: IntArray, items: Tensor, distances: Tensor, shares: Tensor, ranks: Tensor, d_star: Tensor
    ) -> None:
        k = items.shape[1]
        self.items[rows, :k], self.distances[rows, :k], self.shares[rows, :k] = items, distances, shares
        self.ranks[rows], self.d_star[rows] = ranks, d_star

    def told(self, rows_E: IntArray) -> Told:
        rankings = Rankings(rows_E, self.items, self.distances, self.d_star)
        distributions = Distributions(rows_E, self.items, self.shares, self.ranks, self.temperature)
        return Told(rankings, distributions, float((self.ranks <= 10).mean()))


def _parts(events: IntArray, size: int = _EVENTS_AT_ONCE) -> Iterator[tuple[int, IntArray]]:
    """Pieces of at most `size`, each with how many are behind it."""
    for first in range(0, len(events), size):
        part = events[first : first + size]
        yield first + len(part), part


def _components(vectors: FloatArray, has_item: BoolArray, width: int) -> Tensor:
    """(N, P): the first principal components of the centred text vectors; rows without a text are zero."""
    known = vectors[has_item].astype(np.float64)
    centred = known - known.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    kept = directions[:, np.argsort(-variances)[: min(width, len(variances))]]
    components = np.zeros((len(vectors), kept.shape[1]), dtype=np.float32)
    components[has_item] = centred @ kept
    return functional.normalize(torch.from_numpy(components), dim=-1)

"""Ranked lists of a trained student at train events, in the form of a teacher's lists.

Shapes: E train events, B batch, T sequence, M evaluated positions, D embedding_dim, N n_items + 1.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from retort.offline.data.ragged import Ragged
from retort.offline.students._base import Student
from retort.offline.teachers._list_collector import ListCollector, lists_from_logits, mask_pad
from retort.offline.teachers._train_events import TrainEvents, chunks
from retort.offline.teachers.teacher import IntArray
from retort.offline.training.batches import Windows, batches, cut_windows

_SEQUENCES_AT_ONCE = 256
_SCORED_AT_ONCE = 1024


@torch.no_grad()
def collect_student_predictions(
    student: Student, train: Ragged, evaluated: IntArray, lists: ListCollector, *, hide_seen: bool
) -> None:
    """Add the student's lists for the evaluated events to `lists`; the student is left in evaluation mode."""
    student.eval()
    events, table_ND = TrainEvents(train), student.item_table()
    states = (
        _in_windows(student, train, events, evaluated) if student.causal else _one_by_one(student, events, evaluated)
    )
    for found, states_MD in states:
        for behind, part in chunks(found, _SCORED_AT_ONCE):
            logits_MN = student.scores(states_MD[behind - len(part) : behind], table_ND).float().cpu()
            mask_pad(logits_MN)
            if hide_seen:
                events.hide_seen(logits_MN, part)
            targets_M = events.values[torch.from_numpy(part)]
            lists.fill(part, lists_from_logits(logits_MN, targets_M, lists.items.shape[1], lists.temperature))


def _in_windows(
    student: Student, train: Ragged, events: TrainEvents, evaluated: IntArray
) -> Iterator[tuple[IntArray, Tensor]]:
    """States of all events of a window by one forward pass."""
    wanted_E = np.zeros(len(events), dtype=bool)
    wanted_E[evaluated] = True
    cut = cut_windows(train, student.config.max_length)
    some = np.isin(cut.users, events.users[evaluated])
    windows = Windows(cut.values, cut.users[some], cut.starts[some], cut.ends[some])
    device = student.items.weight.device
    for batch in batches(windows, _SEQUENCES_AT_ONCE, seed=0, epoch=0):
        states_BTD = student.hidden_states(batch.sequences_BT[:, :-1].to(device))[-1]
        events_BT = batch.events_BT[:, 1:].numpy()
        real_BT = batch.events_BT[:, :-1].numpy() >= 0  # the first event of a history follows nothing
        cells_BT = real_BT & wanted_E[np.maximum(events_BT, 0)]
        yield events_BT[cells_BT], states_BTD[torch.from_numpy(cells_BT).to(device)]


def _one_by_one(student: Student, events: TrainEvents, evaluated: IntArray) -> Iterator[tuple[IntArray, Tensor]]:
    """A forward pass for each event, for students that are not causal; similar lengths together."""
    device = student.items.weight.device
    by_length = evaluated[np.argsort(events.nth.numpy()[evaluated], kind="stable")]
    for _, part in chunks(by_length, _SEQUENCES_AT_ONCE):
        yield part, student.last_state(events.histories(part, student.config.max_length).to(device))

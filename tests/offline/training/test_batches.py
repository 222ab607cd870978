import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from retort.offline.data.ragged import Ragged
from retort.offline.training.batches import batches, cut_windows

TRAIN = Ragged.of([[1, 2, 3, 4, 5, 6, 7], [], [8], [9, 10], list(range(11, 15))])


def targets_of(train: Ragged, max_length: int) -> list[int]:
    windows = cut_windows(train, max_length)
    assert ((windows.ends - windows.starts) <= max_length + 1).all()
    assert ((windows.ends - windows.starts) >= 2).all()
    pairs = zip(windows.starts, windows.ends, strict=True)
    return sorted(int(item) for start, end in pairs for item in train.values[start + 1 : end])


@given(st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(lambda lengths: max(lengths) > 1), st.integers(1, 5))
def test_every_event_but_a_users_first_is_a_target_once(lengths: list[int], max_length: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    train = Ragged(np.arange(1, offsets[-1] + 1), offsets)
    firsts = {int(offset) + 1 for offset, length in zip(offsets, lengths, strict=False) if length}
    assert targets_of(train, max_length) == sorted(set(range(1, int(offsets[-1]) + 1)) - firsts)


def test_only_the_newest_window_where_configured() -> None:
    windows = cut_windows(TRAIN, 3, every=False)
    assert windows.users.tolist() == [0, 3, 4]
    assert TRAIN.values[windows.starts[0] : windows.ends[0]].tolist() == [4, 5, 6, 7]


def test_windows_stay_within_their_user() -> None:
    windows = cut_windows(TRAIN, 3)
    assert (windows.starts >= TRAIN.offsets[windows.users]).all()
    assert (windows.ends <= TRAIN.offsets[windows.users + 1]).all()


def test_an_epochs_order_depends_on_seed_and_epoch_alone() -> None:
    windows = cut_windows(Ragged.of([[i, i + 1] for i in range(1, 100)]), 5)
    order = [batch.users_B.tolist() for batch in batches(windows, 8, seed=1, epoch=2)]
    assert order == [batch.users_B.tolist() for batch in batches(windows, 8, seed=1, epoch=2)]
    assert order != [batch.users_B.tolist() for batch in batches(windows, 8, seed=1, epoch=3)]
    assert sorted(user for users in order for user in users) == list(range(99))


def test_batches_hold_almost_no_padding() -> None:
    random = np.random.default_rng(0)
    train = Ragged.of([np.ones(length, dtype=np.int64) for length in random.geometric(0.1, size=5000) + 1])
    cells = real = 0
    for batch in batches(cut_windows(train, 50), 128, seed=0, epoch=1):
        cells += batch.sequences_BT.numel()
        real += int((batch.sequences_BT != 0).sum())
    assert real / cells > 0.85


def test_every_place_knows_its_event() -> None:
    for batch in batches(cut_windows(TRAIN, 3), 2, seed=0, epoch=1):
        real = batch.events_BT >= 0
        assert torch.equal(real, batch.sequences_BT != 0)
        assert TRAIN.values[batch.events_BT[real].numpy()].tolist() == batch.sequences_BT[real].tolist()
        rows = np.searchsorted(TRAIN.offsets, batch.events_BT[:, -1].numpy(), side="right") - 1
        assert rows.tolist() == batch.users_B.tolist()

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retort.offline.data.ragged import Ragged

rows = st.lists(st.lists(st.integers(0, 50), max_size=5), max_size=8)


@given(rows, st.data())
def test_take_is_the_named_rows_in_order(lists: list[list[int]], data: st.DataObject) -> None:
    ragged = Ragged.of(lists)
    wanted = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=12)) if lists else []
    taken = ragged.take(np.array(wanted, dtype=np.int64))
    assert [row.tolist() for row in taken] == [lists[row] for row in wanted]


@given(st.lists(st.integers(), max_size=20), st.data())
def test_slices_may_overlap(values: list[int], data: st.DataObject) -> None:
    place = st.integers(0, len(values))
    pairs = [tuple(sorted(pair)) for pair in data.draw(st.lists(st.tuples(place, place), max_size=6))]
    array = np.array([value % 1000 for value in values], dtype=np.int64)
    starts = np.array([pair[0] for pair in pairs], dtype=np.int64)
    ends = np.array([pair[1] for pair in pairs], dtype=np.int64)
    assert [row.tolist() for row in Ragged.slices(array, starts, ends)] == [array[a:b].tolist() for a, b in pairs]


@pytest.mark.parametrize("row", [-1, 2])
def test_rows_outside_are_refused(row: int) -> None:
    with pytest.raises(IndexError):
        Ragged.of([[1], [2, 3]]).take(np.array([row]))

"""Stored members that are decoded together give the same ids as each alone."""

from retort.shared.history.store import SEPARATOR, member
from retort.shared.history.stored_history import read_item_ids
from retort.shared.model.item_index import ItemIndex


def test_ids_come_back_as_they_went_in() -> None:
    ids = ["i1", "a b", "é:{}", "i1", "x" * 256]
    assert read_item_ids([member(item_id, f"e{n}").encode() for n, item_id in enumerate(ids)]) == ids
    assert read_item_ids([]) == []


def test_members_of_another_format_are_split_one_by_one() -> None:
    strange = [member("i1", "e").encode(), b"no separator", f"two{SEPARATOR}parts{SEPARATOR}hash".encode()]
    assert read_item_ids(strange) == ["i1", "", f"two{SEPARATOR}parts"]


def test_strangers_are_left_out_of_the_indexes() -> None:
    index = ItemIndex(["a", "b", "c"])
    assert index.indexes(["c", "x", "a", "c"]).tolist() == [3, 1, 3]
    assert index.indexes([]).tolist() == []
    assert index.indexes(iter(["x"])).dtype == "int64"

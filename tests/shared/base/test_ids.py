"""One id for one user, however requests and training data spell it."""

import polars as pl
import pytest

from retort.offline.data.ids import clean_ids
from retort.shared.base.errors import DataError
from retort.shared.base.ids import canonical_id, canonical_ids, has_lost_digits

SPELLINGS = {
    "ann": "ann",
    " ann": "ann",
    "ann ": "ann",
    "\u00a0ann\u3000": "ann",
    "a n": "a n",
    "\u2003ann": "\u2003ann",
    "1.0": "1",
    " 1.000": "1",
    "-7.0": "-7",
    "-0.0": "0",
    "10": "10",
    "01.0": "01.0",
    "1.50": "1.50",
    "1.0.0": "1.0.0",
    "v1.0": "v1.0",
    ".0": ".0",
    "9007199254740991.0": "9007199254740991",
}


def training_ids(texts: list[str]) -> list[str]:
    return clean_ids(pl.Series("user", texts), pl.Series(range(len(texts))), "log").text.to_list()


def test_requests_and_training_data_give_the_same_id() -> None:
    texts = list(SPELLINGS)
    assert [canonical_id(text) for text in texts] == list(SPELLINGS.values())
    assert canonical_ids(texts) == list(SPELLINGS.values())
    assert training_ids(texts) == list(SPELLINGS.values())


def test_a_list_of_canonical_ids_is_not_copied() -> None:
    texts = ["i1", "ä", "10"]
    assert canonical_ids(texts) is texts


@pytest.mark.parametrize("text", ["1e+20", "1.5E+16", "9007199254740992.0", " -9007199254740993.0 "])
def test_ids_that_the_training_refuses_are_known_to_have_lost_digits(text: str) -> None:
    assert has_lost_digits(text)
    with pytest.raises(DataError, match="lose digits"):
        training_ids(["ann", text])


@pytest.mark.parametrize("text", ["9007199254740993", "1e20", "e+1", "9007199254740991.0"])
def test_other_ids_have_all_their_digits(text: str) -> None:
    assert not has_lost_digits(text)
    assert training_ids(["ann", text])

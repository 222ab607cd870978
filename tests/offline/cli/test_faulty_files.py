"""Files that are no text or too deep, and times that are none: one sentence from every command that reads them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from retort.offline.cli.refresh import _read_user_ids
from retort.offline.cli.retrain import seconds
from retort.offline.experiments.plan_files import read_plan
from retort.offline.recipes.recipe import load_recipe
from retort.offline.recipes.recipe_files import parse_override
from retort.shared.base.errors import DataError, RecipeError

_DEEP = "a = " + "[" * 3000 + "]" * 3000


@pytest.fixture
def usual_recursion_limit() -> Iterator[None]:
    """Some libraries raise the limit for the whole process."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("usual_recursion_limit")
def test_a_recipe_that_is_nested_too_deeply_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text(_DEEP)
    with pytest.raises(RecipeError, match="it must be TOML"):
        load_recipe(str(tmp_path / "deep.toml"))
    with pytest.raises(RecipeError, match="it must be TOML"):
        read_plan(tmp_path / "deep.toml")
    assert parse_override(_DEEP.replace(" = ", "=", 1))[1] == _DEEP[4:]


def test_user_ids_in_another_encoding_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_bytes(b"u1\nu\xff2\n")
    with pytest.raises(DataError, match=r"users\.txt, row 2, is not UTF-8 text"):
        _read_user_ids(tmp_path / "users.txt")
    (tmp_path / "users.txt").write_bytes(b"\xef\xbb\xbfu1\nu2\n")
    assert _read_user_ids(tmp_path / "users.txt") == {"u1", "u2"}
    (tmp_path / "users.txt").write_text("7.0\n u1 \n")
    assert _read_user_ids(tmp_path / "users.txt") == {"7", "u1"}, "as in training data"


@pytest.mark.parametrize("every", ["99999999999999999999d", "367d", "١h", "0m"])
def test_times_that_no_clock_waits_for_are_refused(every: str) -> None:
    with pytest.raises(RecipeError, match="is no time; write one such as 30m"):
        seconds(every)

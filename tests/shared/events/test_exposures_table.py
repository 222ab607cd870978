"""The exposures table: each list once; nothing remains of an erased user."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from retort.shared.events import exposures_table
from retort.shared.events.events import Merge
from retort.shared.events.exposures import Exposure
from retort.shared.events.exposures_table import ExposuresTable, forget_exposures, merge_exposures, read_exposures

SHOWN = Exposure("r1", "default", 10, "student", ("i1", "i2"), 11, "ann", "s1", "deadline", "m", "v", "trial", "a")


def rows(engine: sa.Engine, tenant: str = "default") -> list[Exposure]:
    names = Exposure.__slots__
    chunks = read_exposures(engine, tenant=tenant)
    found = [{name: getattr(row, name) for name in names} for chunk in chunks for row in chunk]
    return [Exposure(**{**one, "item_ids": tuple(one["item_ids"])}) for one in found]


def test_lists_are_kept_whole_and_once(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposures_table, "_ROWS_AT_ONCE", 1)
    table = ExposuresTable(engine)
    table.keep([SHOWN, replace(SHOWN, first_rank=21)])
    table.keep([SHOWN, replace(SHOWN, tenant="shop")])
    table.keep([])
    assert rows(engine) == [SHOWN, replace(SHOWN, first_rank=21)]
    assert len(rows(engine, "shop")) == 1


def test_forgetting_takes_the_user_the_nameless_and_nothing_later(engine: sa.Engine) -> None:
    guest = replace(SHOWN, request_id="r2", user_id=None)
    others = [
        replace(SHOWN, shown_ms=50),
        replace(guest, session_id="s2"),
        replace(SHOWN, user_id="bob"),
        replace(SHOWN, tenant="shop"),
    ]
    ExposuresTable(engine).keep([SHOWN, guest, *others])
    assert forget_exposures(engine, "default", "ann", until_ms=20) == 2
    assert sorted(map(repr, rows(engine))) == sorted(map(repr, others[:3]))
    assert len(rows(engine, "shop")) == 1


def test_what_a_guest_was_shown_was_shown_to_the_user(engine: sa.Engine) -> None:
    guest = replace(SHOWN, user_id=None)
    ExposuresTable(engine).keep([guest, replace(guest, shown_ms=50), replace(guest, session_id="s2")])
    assert merge_exposures(engine, Merge("default", "bob", 20, guest_session_id="s1")) == 1
    assert sorted((row.user_id or "", row.session_id, row.shown_ms) for row in rows(engine)) == [
        ("", "s1", 50),
        ("", "s2", 10),
        ("bob", "s1", 10),
    ]

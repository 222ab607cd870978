"""The events table: each event once, in the order of arrival; nothing remains of an erased user."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from retort.shared.base.errors import StoreOutdatedError
from retort.shared.db import migrate
from retort.shared.db.models import Event
from retort.shared.db.session import open_database
from retort.shared.events import events_table
from retort.shared.events.events import Merge, StreamedEvent
from retort.shared.events.events_table import forget_events, merge_events, read_events, store_events
from retort.shared.events.exposures import Exposure
from retort.shared.events.exposures_table import ExposuresTable
from retort.shared.events.session_rows import forget_sessions, sessions_of

EVENT = StreamedEvent("e1", "default", "i1", "click", 1.0, 5, 10, "ann", "s1", 2.5, "r1", ("i1", "i2"))


def rows(engine: sa.Engine, tenant: str = "default") -> list[Event]:
    return [row for chunk in read_events(engine, tenant=tenant) for row in chunk]


def test_an_event_comes_back_whole(engine: sa.Engine) -> None:
    store_events(engine, [EVENT])
    (row,) = rows(engine)
    kept = {name: getattr(row, name) for name in StreamedEvent.__slots__}
    assert StreamedEvent(**{**kept, "impressions": tuple(row.impressions)}) == EVENT


def test_what_is_stored_twice_is_there_once(engine: sa.Engine) -> None:
    others = [
        replace(EVENT, user_id="bob"),
        replace(EVENT, tenant="shop"),
        replace(EVENT, event_id="e2", item_id="i2"),
        replace(EVENT, user_id=None, session_id="ann"),
    ]
    store_events(engine, [EVENT, *others])
    store_events(engine, [replace(EVENT, accepted_ms=99), *others, replace(EVENT, item_id="i2"), EVENT])
    assert len(rows(engine)) == 4
    assert len(rows(engine, "shop")) == 1
    assert rows(engine)[0].accepted_ms == 10, "the first word stands"


def test_rows_of_an_earlier_version_are_recognised_when_they_are_sent_again_or_merged(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = [replace(EVENT, item_id=item) for item in ("i1", "i2")]  # one id for two items: two rows before
    with monkeypatch.context() as earlier:
        earlier.setattr(
            events_table,
            "event_key",
            lambda event: events_table._former_key(event.user_id, event.session_id, event.item_id, event.event_id),
        )
        store_events(engine, order)
    store_events(engine, order)
    assert [row.item_id for row in rows(engine)] == ["i1", "i2"]
    assert merge_events(engine, Merge("default", "bob", 50, guest_user_id="ann")) == 2
    store_events(engine, [replace(event, user_id="bob") for event in order])
    assert [(row.user_id, row.item_id) for row in rows(engine)] == [("bob", "i1"), ("bob", "i2")]


def test_order_of_arrival_across_chunks(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_table, "_ROWS_AT_ONCE", 3)
    store_events(engine, [replace(EVENT, event_id=f"e{n}") for n in range(8)])
    assert [row.event_id for row in rows(engine)] == [f"e{n}" for n in range(8)]
    assert [len(chunk) for chunk in read_events(engine)] == [3, 3, 2]


def test_forgetting_takes_the_user_and_the_sessions_without_a_name(engine: sa.Engine) -> None:
    guest = replace(EVENT, event_id="e2", user_id=None)
    later = replace(EVENT, event_id="e3", accepted_ms=50)
    store_events(
        engine,
        [
            EVENT,
            guest,
            later,
            replace(guest, session_id="s2"),
            replace(EVENT, user_id="bob"),
            replace(EVENT, tenant="shop"),
        ],
    )
    assert forget_events(engine, "default", "ann", until_ms=20) == 2
    assert {(row.user_id, row.session_id, row.event_id) for row in rows(engine)} == {
        ("ann", "s1", "e3"),
        (None, "s2", "e2"),
        ("bob", "s1", "e1"),
    }
    assert forget_events(engine, "default", "ann") == 1
    assert len(rows(engine, "shop")) == 1


def test_a_session_is_known_by_either_table_and_its_nameless_rows_go_from_both(engine: sa.Engine) -> None:
    shown = Exposure("r1", "default", 10, "popular", ("i1",), session_id="s2")
    lists = [shown, replace(shown, user_id="ann"), replace(shown, shown_ms=50), replace(shown, session_id="s3")]
    guest = replace(EVENT, user_id=None, session_id="s2")
    events = [EVENT, guest, replace(guest, event_id="e2", accepted_ms=50), replace(guest, tenant="shop")]
    ExposuresTable(engine).keep(lists)
    store_events(engine, events)
    assert sorted(sessions_of(engine, "default", "ann")) == ["s1", "s2"]
    assert forget_sessions(engine, "default", ["s1", "s2"], 20) == (1, 1)
    assert [(row.user_id, row.event_id) for row in rows(engine)] == [("ann", "e1"), (None, "e2")]
    assert forget_sessions(engine, "default", [], 20) == (0, 0)


def test_a_merge_makes_one_user_without_duplicates(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_table, "_VALUES_AT_ONCE", 2)
    guest = replace(EVENT, user_id=None)
    own = [replace(EVENT, event_id=f"e{n}") for n in range(3)]
    theirs = [replace(guest, event_id=f"e{n}") for n in range(6)]
    others = [
        replace(guest, event_id="late", accepted_ms=99),
        replace(guest, session_id="s2"),
        replace(guest, tenant="x"),
    ]
    store_events(engine, [*own, *theirs, *others])
    merge = Merge("default", "ann", 50, guest_session_id="s1")
    assert merge_events(engine, merge) == 3
    assert merge_events(engine, merge) == 0
    kept = sorted((row.user_id or "", row.session_id, row.event_id) for row in rows(engine))
    assert kept == [("", "s1", "late"), ("", "s2", "e1"), *(("ann", "s1", f"e{n}") for n in range(6))]
    store_events(engine, [replace(EVENT, event_id="e5")])
    assert len(rows(engine)) == 8, "the user's own copy is the same event"
    assert merge_events(engine, Merge("default", "bob", 50, guest_user_id="ann")) == 6


def test_a_database_of_an_older_version_is_reported(database_url: str) -> None:
    migrate.upgrade(database_url, "r0002")
    engine = open_database(database_url)
    with pytest.raises(StoreOutdatedError, match="db upgrade"):
        store_events(engine, [EVENT])
    engine.dispose()


def test_merges_in_both_directions_at_once_keep_the_event(engine: sa.Engine) -> None:
    rounds = [(f"ann {n}", f"bob {n}") for n in range(10)]
    store_events(engine, [replace(EVENT, user_id=user) for pair in rounds for user in pair])

    def merge(pair: tuple[str, str]) -> None:
        merge_events(engine, Merge("default", pair[0], 20, guest_user_id=pair[1]))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(merge, [way for ann, bob in rounds for way in ((ann, bob), (bob, ann))]))
    left = {row.user_id for row in rows(engine)}
    assert all(left & set(pair) for pair in rounds)

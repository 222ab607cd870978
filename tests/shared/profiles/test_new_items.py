"""Requests for new items: the same content is the same request, and how many may wait."""

import pytest
from sqlalchemy import Engine

from retort.shared.db.models import CANCELLED, DONE, FAILED, PENDING, RefreshChunk, RefreshJob
from retort.shared.db.session import reading, transaction
from retort.shared.profiles import new_items
from retort.shared.profiles.new_items import NewItems, request_new_items, save_result
from retort.shared.profiles.refreshes import RefreshBusyError, read_job, read_jobs

ITEMS = [{"item_id": "a", "title": "A"}, {"item_id": "b", "title": "B", "attributes": {"year": 1990}}]


def _end(engine: Engine, job_id: str, status: str) -> None:
    with transaction(engine) as session:
        session.get_one(RefreshJob, job_id).status = status
        chunk = session.get_one(RefreshChunk, (job_id, 0))
        chunk.status, chunk.attempts = status, 3


def test_the_same_content_is_the_same_request(engine: Engine) -> None:
    first = request_new_items(engine, NewItems(ITEMS, requested_by="ann"))
    assert request_new_items(engine, NewItems(ITEMS[::-1], requested_by="bob")) == first
    others = [NewItems(ITEMS[:1]), NewItems(ITEMS, share=0.1), NewItems([{**ITEMS[0], "title": "C"}, ITEMS[1]])]
    assert len({first, *(request_new_items(engine, other) for other in others)}) == 4
    assert request_new_items(engine, NewItems(ITEMS), tenant="shop") != first
    status = read_job(engine, first)
    assert (status.name, status.status, status.n_users, status.chunks) == ("new items", PENDING, 2, {PENDING: 1})


@pytest.mark.parametrize(
    ("status", "served", "opened"),
    [(FAILED, True, True), (CANCELLED, True, True), (DONE, False, True), (DONE, True, False)],
)
def test_a_request_is_opened_again_where_its_items_are_not_served(
    engine: Engine, status: str, served: bool, opened: bool
) -> None:
    job_id = request_new_items(engine, NewItems(ITEMS))
    save_result(engine, job_id, "2 items added.")
    _end(engine, job_id, status)
    assert request_new_items(engine, NewItems(ITEMS), is_served=lambda _: served) == job_id
    with reading(engine) as session:
        chunk = session.get_one(RefreshChunk, (job_id, 0))
        assert (chunk.status, chunk.attempts) == ((PENDING, 0) if opened else (status, 3))
    assert read_job(engine, job_id).status == (PENDING if opened else status)
    assert read_jobs(engine)[0].result == (None if opened else "2 items added.")


def test_only_so_many_requests_may_wait(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_items, "MAX_WAITING", 2)
    job_id = request_new_items(engine, NewItems(ITEMS))
    request_new_items(engine, NewItems(ITEMS[:1]))
    with pytest.raises(RefreshBusyError, match="2 requests for new items wait"):
        request_new_items(engine, NewItems(ITEMS[1:]))
    assert request_new_items(engine, NewItems(ITEMS)) == job_id, "a request that waits is found"
    request_new_items(engine, NewItems(ITEMS[1:]), tenant="shop")

"""Both clients over the real application and over a server with temporary errors."""

import asyncio
import inspect
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from mypy import api

from clients.retort_client import Accepted, AsyncRetortClient, Event, Pin, RetortClient, RetortProblem, Weighting
from retort.serving.api.app import create_app
from retort.serving.runtime.settings import ServingSettings
from retort.serving.schemas.requests import RecommendRequest
from retort.shared.base.settings import Settings
from retort.shared.history.store import MemoryHistory
from tests.offline.common._hostile import Pieces, endless_body, hostile_server, trickled_body, trickled_headers
from tests.serving._graphs import make_bundle

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles"))


def asynchronous(handler: Callable[[httpx.Request], httpx.Response] | httpx.AsyncBaseTransport) -> Ask:
    """Calls a method of the async client as if it were sync."""
    transport = handler if isinstance(handler, httpx.AsyncBaseTransport) else httpx.MockTransport(handler)

    def ask(name: str, *args: Any, **options: Any) -> Any:
        async def scenario() -> Any:
            async with AsyncRetortClient("http://test", "key", transport=transport) as client:
                return await getattr(client, name)(*args, **options)

        return asyncio.run(scenario())

    return ask


def synchronous(handler: Callable[[httpx.Request], httpx.Response]) -> Ask:
    def ask(name: str, *args: Any, **options: Any) -> Any:
        with RetortClient("http://test", "key", transport=httpx.MockTransport(handler)) as client:
            return getattr(client, name)(*args, **options)

    return ask


def test_all_calls_over_the_real_application(bundle: Path, tmp_path: Path) -> None:
    serving = ServingSettings(_env_file=None, bundle=bundle)
    app = create_app(Settings(_env_file=None, retort_home=tmp_path), serving, histories=MemoryHistory())
    ask = asynchronous(httpx.ASGITransport(app=app))
    user = "ann/of the 1st"
    stranger = ask("recommend", user, k=3)
    assert (stranger.source, stranger.is_personal, len(stranger.items)) == ("popular", False, 3)
    events = [Event("i7", user_id=user, timestamp=datetime(2026, 1, 1, tzinfo=UTC)), Event("i8", session_id="s")]
    assert ask("send", events).new == 2
    assert ask("send", events).new == 0, "sent again, counted once"
    known = ask("recommend", user, k=3, fields=["title"], explain=True)
    assert known.is_personal
    assert known.items[0].fields is not None
    assert known.items[0].reason is not None
    more = ask("recommend", user, k=3, next=known.next)
    assert more.items[0].rank == 4
    assert ask("merge", user, session_id="s") == 1
    assert [event.item_id for event in ask("history", user)] == ["i7", "i8"]
    assert len(ask("similar", "i7", 4, exclude=["i1"]).items) == 4
    assert len(ask("known", user).events) == 2
    shown = ask(
        "recommend", user, k=2, pins=[Pin("i30", 1)], boost=[Weighting({"genre": "horror"}, 9)], exclude=("i9",)
    )
    assert shown.items[0].item_id == "i30"
    assert ask("send", [Event("i30", user_id=user, impression=shown.impression)]).accepted == 1
    assert ask("erase", user).status == "done"
    assert ask("erasure", user).history == 3
    assert ask("history", user) == []
    with pytest.raises(RetortProblem, match="k: ") as caught:
        ask("recommend", user, k=0)
    assert caught.value.status == 422
    assert caught.value.errors[0]["where"] == "k"
    assert caught.value.request_id


@pytest.mark.parametrize("user", [".", "..", "a.b", "../history", "%2E"])
def test_ids_that_look_like_paths_reach_their_user(bundle: Path, tmp_path: Path, user: str) -> None:
    serving = ServingSettings(_env_file=None, bundle=bundle)
    app = create_app(Settings(_env_file=None, retort_home=tmp_path), serving, histories=MemoryHistory())
    ask = asynchronous(httpx.ASGITransport(app=app))
    ask("send", [Event("i7", user_id=user)])
    assert [entry.item_id for entry in ask("history", user)] == ["i7"]
    assert ask("erase", user).history == 1


def test_exclude_accepts_a_set(bundle: Path, tmp_path: Path) -> None:
    serving = ServingSettings(_env_file=None, bundle=bundle)
    app = create_app(Settings(_env_file=None, retort_home=tmp_path), serving, histories=MemoryHistory())
    answer = asynchronous(httpx.ASGITransport(app=app))("recommend", "ann", exclude={"i1", "i3"}, k=2)
    assert [item.item_id for item in answer.items] == ["i2", "i4"]


@pytest.mark.parametrize("kind", [synchronous, asynchronous])
def test_temporary_errors_are_retried_and_the_key_is_sent(kind: Callable[..., Ask]) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if len(seen) == 1:
            return httpx.Response(503, headers={"retry-after": "0"}, json={"detail": "full"})
        if len(seen) == 2:
            raise httpx.ConnectError("gone")
        return httpx.Response(202, json={"request_id": "r", "accepted": 1, "new": 1})

    assert kind(handler)("send", [Event("i1", user_id="u")]).accepted == 1
    assert len({request.content for request in seen}) == 1, "the same event id every time"
    assert len({request.headers["x-request-id"] for request in seen}) == 1, "and the same request id"
    assert seen[0].headers["authorization"] == "Bearer key"


@pytest.mark.parametrize("kind", [synchronous, asynchronous])
@pytest.mark.parametrize(
    ("response", "attempts"),
    [
        (httpx.Response(422, json={"detail": "wrong"}), 1),
        (httpx.Response(503, headers={"retry-after": "60"}, json={"detail": "later"}), 1),
        (httpx.Response(502, text="<html>"), 3),
        (httpx.Response(502, content="<p>Passerelle erronée</p>".encode("latin-1")), 3),
    ],
)
def test_permanent_errors_are_raised_at_once(kind: Callable[..., Ask], response: httpx.Response, attempts: int) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(response.status_code, headers=response.headers, content=response.content)

    with pytest.raises(RetortProblem) as caught:
        kind(handler)("recommend", "u")
    assert caught.value.status == response.status_code
    assert len(seen) == attempts


def test_a_timestamp_without_a_zone_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="zone"):
        Event("i1", user_id="u", timestamp=datetime(2026, 1, 1)).document()


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type[Any]) -> dict[str, list[str]]:
        public = inspect.getmembers(client, inspect.isfunction)
        return {name: list(inspect.signature(call).parameters) for name, call in public if not name.startswith("_")}

    own = methods(RetortClient)
    assert {**own, "close": []} == {**methods(AsyncRetortClient), "close": []}
    assert own["similar"] == ["item_id", "k", "exclude", "fields"]
    assert set(RecommendRequest.model_fields) == set(own["recommend"]), "all that the server knows can be asked"


def test_types_are_those_of_the_calls(tmp_path: Path) -> None:
    """A type checker sees through the one description: answers here, awaitables there."""
    code = tmp_path / "typed.py"
    code.write_text(
        "from clients.retort_client import AsyncRetortClient, RetortClient\n"
        "def one(c: RetortClient, a: AsyncRetortClient) -> None:\n"
        "    reveal_type(c.merge('u', session_id='s'))\n"
        "    reveal_type(a.history('u'))\n"
        "    c.recommend('u', colour='red')\n"
    )
    out, _, status = api.run(["--strict", "--no-error-summary", str(code)])
    assert status == 1
    assert 'Revealed type is "int"' in out.replace("builtins.int", "int")
    assert "Awaitable[" in out
    assert "HistoryEntry" in out
    assert 'Unexpected keyword argument "colour"' in out
    assert len([line for line in out.splitlines() if ": error:" in line]) == 1, out


@pytest.mark.parametrize("pieces", [trickled_headers, trickled_body])
def test_the_timeout_is_the_total_of_an_attempt(pieces: Callable[[], Pieces]) -> None:
    async def ask(url: str) -> None:
        async with AsyncRetortClient(url, timeout_s=0.3, retries=0) as client:
            await client.recommend("u")

    with hostile_server(pieces) as url:
        started_s = time.monotonic()
        with RetortClient(url, timeout_s=0.3, retries=0) as client, pytest.raises(httpx.TimeoutException):
            client.recommend("u")
        with pytest.raises(httpx.TimeoutException):
            asyncio.run(ask(url))
    assert time.monotonic() - started_s < 3


def test_a_response_without_end_is_refused() -> None:
    async def ask(url: str) -> None:
        async with AsyncRetortClient(url, timeout_s=30) as client:
            await client.recommend("u")

    with hostile_server(endless_body) as url:
        with RetortClient(url, timeout_s=30) as client, pytest.raises(httpx.RequestError, match="larger than 32 MiB"):
            client.recommend("u")
        with pytest.raises(httpx.RequestError, match="larger than 32 MiB"):
            asyncio.run(ask(url))


def test_events_may_be_dictionaries() -> None:
    bodies: list[Any] = []

    def accept(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(202, json={"accepted": 1, "new": 1, "request_id": "r"})

    fields = {"user_id": "u", "item_id": "i1", "event_id": "e1", "timestamp": "2026-01-01T00:00:00+00:00"}
    with RetortClient("http://test", transport=httpx.MockTransport(accept)) as client:
        client.send(fields)
        client.send([fields])
        client.send(Event(**{**fields, "timestamp": datetime(2026, 1, 1, tzinfo=UTC)}))
        with pytest.raises(TypeError, match="colour"):
            client.send({**fields, "colour": "red"})
        with pytest.raises(TypeError, match="an event is an Event or a dictionary"):
            client.send(["i1"])  # type: ignore[list-item]
    assert bodies[0] == bodies[1] == bodies[2]
    assert bodies[0][0]["item_id"] == "i1"


def test_events_that_were_not_stored_and_hints_are_returned() -> None:
    document = {
        "accepted": 1,
        "new": 1,
        "request_id": "r",
        "errors": [{"where": "1", "why": "its history cannot be written"}],
        "hints": [{"where": "0.item_id", "why": "unknown"}],
    }
    accepted = Accepted.read(document)
    assert [error["where"] for error in accepted.errors] == ["1"]
    assert [hint["where"] for hint in accepted.hints] == ["0.item_id"]
    older = Accepted.read({"accepted": 1, "new": 1, "request_id": "r"})
    assert (older.errors, older.hints) == ((), ())

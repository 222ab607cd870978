"""Calls of the HTTP API: method, path, body and parser of the response.

All calls are safe to retry: events carry their ids, and a call keeps its request id over its attempts.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from .models import Accepted, Erasure, Event, HistoryEntry, Known, Pin, Recommendation, Weighting

R = TypeVar("R")
Filter = Mapping[str, Any]


@dataclass(frozen=True)
class Call(Generic[R]):
    """A request and the parser of its response."""

    method: str
    path: str
    read: Callable[[Any], R]
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)


def recommend(
    user_id: str | None = None,
    *,
    session_id: str | None = None,
    history: Sequence[str] | None = None,
    k: int = 10,
    exclude: Collection[str] | None = None,
    candidates: Collection[str] | None = None,
    filter: Filter | None = None,
    strict_filter: bool | None = None,
    boost: Sequence[Weighting] | None = None,
    bury: Sequence[Weighting] | None = None,
    pins: Sequence[Pin] | None = None,
    caps: Mapping[str, int] | None = None,
    diversity: float | None = None,
    segment: Filter | None = None,
    fields: Sequence[str] | None = None,
    explain: bool | None = None,
    next: str | None = None,
    dry_run: bool | None = None,
) -> Call[Recommendation]:
    """Recommend items for a user, a session or a history; None leaves a field out."""
    values: dict[str, Any] = {
        "user_id": user_id,
        "session_id": session_id,
        "history": history,
        "k": k,
        "exclude": exclude,
        "candidates": candidates,
        "filter": filter,
        "strict_filter": strict_filter,
        "boost": boost and [asdict(weighting) for weighting in boost],
        "bury": bury and [asdict(weighting) for weighting in bury],
        "pins": pins and [asdict(pin) for pin in pins],
        "caps": caps,
        "diversity": diversity,
        "segment": segment,
        "fields": fields,
        "explain": explain,
        "next": next,
        "dry_run": dry_run,
    }
    body = {name: _plain(value) for name, value in values.items() if value is not None}
    return Call("POST", "/recommend", Recommendation.read, body)


def similar(item_id: str, k: int = 10, exclude: Sequence[str] = (), fields: Sequence[str] = ()) -> Call[Recommendation]:
    """Find items similar to an item."""
    query = {"k": k, "exclude": list(exclude), "fields": list(fields)}
    return Call("GET", f"/similar/{_path_segment(item_id)}", Recommendation.read, query=query)


def send(events: Event | Mapping[str, Any] | Iterable[Event | Mapping[str, Any]]) -> Call[Accepted]:
    """Send events, or dictionaries with an event's fields; the next recommendation uses them.

    Raises:
        TypeError: A dictionary has a field that an event does not have, or lacks one.
    """
    several = [events] if isinstance(events, Event | Mapping) else events
    return Call("POST", "/events", Accepted.read, [_event(event).document() for event in several])


def _event(event: Event | Mapping[str, Any]) -> Event:
    if isinstance(event, Event):
        return event
    if not isinstance(event, Mapping):
        raise TypeError(f"an event is an Event or a dictionary with its fields, not {type(event).__name__}")
    fields = dict(event)
    if isinstance(fields.get("timestamp"), str):
        fields["timestamp"] = datetime.fromisoformat(fields["timestamp"])
    if "impressions" in fields:
        fields["impressions"] = tuple(fields["impressions"])
    return Event(**fields)


def history(user_id: str) -> Call[list[HistoryEntry]]:
    """Read the stored history, oldest first."""
    return Call("GET", _user(user_id, "/history"), lambda answer: HistoryEntry.read_all(answer["events"]))


def merge(user_id: str, *, session_id: str | None = None, guest_user_id: str | None = None) -> Call[int]:
    """Move the history of a session or another user into the user's; return the number of new events."""
    guest = {"session_id": session_id, "user_id": guest_user_id}
    body = {name: value for name, value in guest.items() if value is not None}
    return Call("POST", _user(user_id, "/merge"), lambda answer: int(answer["moved"]), body)


def known(user_id: str) -> Call[Known]:
    """Read all data of a user."""
    return Call("GET", _user(user_id), Known.read)


def erase(user_id: str) -> Call[Erasure]:
    """Erase all data of a user; return the state of the erasure."""
    return Call("DELETE", _user(user_id), Erasure.read)


def erasure(user_id: str) -> Call[Erasure]:
    """Read the state of an erasure."""
    return Call("GET", _user(user_id, "/erasure"), Erasure.read)


def _user(user_id: str, tail: str = "") -> str:
    return f"/users/{_path_segment(user_id)}{tail}"


def _path_segment(id: str) -> str:
    """Encode an id as a path segment, including its dots, because httpx removes the segments `.` and `..`."""
    return quote(id, safe="").replace(".", "%2E")


def _plain(value: Any) -> Any:
    """Turn tuples and sets into lists for JSON."""
    return list(value) if isinstance(value, Collection) and not isinstance(value, (str, Mapping)) else value

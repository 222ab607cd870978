"""Every call of the API, described once: what is sent, where to, and what the answer becomes.

All are safe to repeat: events carry their ids, and a call keeps its request id over its attempts.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from .models import Accepted, Erasure, Event, HistoryEntry, Known, Pin, Recommendation, Weighting

R = TypeVar("R")
Filter = Mapping[str, Any]


@dataclass(frozen=True)
class Call(Generic[R]):
    """One request and how to read its answer."""

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
    """Ranked items for a user, a session or a history; what is None is not said."""
    said: dict[str, Any] = {
        "user_id": user_id,
        "session_id": session_id,
        "history": history,
        "k": k,
        "exclude": exclude,
        "candidates": candidates,
        "filter": filter,
        "strict_filter": strict_filter,
        "boost": boost and [asdict(one) for one in boost],
        "bury": bury and [asdict(one) for one in bury],
        "pins": pins and [asdict(one) for one in pins],
        "caps": caps,
        "diversity": diversity,
        "segment": segment,
        "fields": fields,
        "explain": explain,
        "next": next,
        "dry_run": dry_run,
    }
    body = {name: _plain(value) for name, value in said.items() if value is not None}
    return Call("POST", "/recommend", Recommendation.read, body)


def similar(item_id: str, k: int = 10, exclude: Sequence[str] = (), fields: Sequence[str] = ()) -> Call[Recommendation]:
    """Items like this one."""
    query = {"k": k, "exclude": list(exclude), "fields": list(fields)}
    return Call("GET", f"/similar/{_part(item_id)}", Recommendation.read, query=query)


def send(events: Iterable[Event]) -> Call[Accepted]:
    """Tell what happened; the next answer knows it."""
    return Call("POST", "/events", Accepted.read, [event.document() for event in events])


def history(user_id: str) -> Call[list[HistoryEntry]]:
    """The stored events, oldest first."""
    return Call("GET", _user(user_id, "/history"), lambda answer: HistoryEntry.read_all(answer["events"]))


def merge(user_id: str, *, session_id: str | None = None, guest_user_id: str | None = None) -> Call[int]:
    """Move a guest's history, a session's or another user's, into the user's; how many events were new."""
    guest = {"session_id": session_id, "user_id": guest_user_id}
    body = {name: value for name, value in guest.items() if value is not None}
    return Call("POST", _user(user_id, "/merge"), lambda answer: int(answer["moved"]), body)


def known(user_id: str) -> Call[Known]:
    """Everything that the server and its stores know of the user."""
    return Call("GET", _user(user_id), Known.read)


def erase(user_id: str) -> Call[Erasure]:
    """Forget everything; the answer says how far it is."""
    return Call("DELETE", _user(user_id), Erasure.read)


def erasure(user_id: str) -> Call[Erasure]:
    """How far an erasure is."""
    return Call("GET", _user(user_id, "/erasure"), Erasure.read)


def _user(user_id: str, tail: str = "") -> str:
    return f"/users/{_part(user_id)}{tail}"


def _part(id: str) -> str:
    """An id as one part of a path; its dots too, for httpx takes the parts `.` and `..` out."""
    return quote(id, safe="").replace(".", "%2E")


def _plain(value: Any) -> Any:
    """JSON knows lists, not tuples or sets."""
    return list(value) if isinstance(value, Collection) and not isinstance(value, (str, Mapping)) else value

"""Models of requests and responses."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Self, TypeVar
from uuid import uuid4

D = TypeVar("D")


@dataclass(frozen=True)
class Weighting:
    """An addition to (boost) or subtraction from (bury) the score of items that pass a filter; 0.7 doubles the odds."""

    filter: Mapping[str, Any]
    by: float


@dataclass(frozen=True)
class Pin:
    """An item at a fixed position; 1 is the first."""

    item_id: str
    position: int


@dataclass(frozen=True)
class Item:
    """One recommended item; rank 1 is the best, a pinned item has no score."""

    item_id: str
    score: float | None
    rank: int
    reason: dict[str, Any] | None = None
    fields: dict[str, Any] | None = None


@dataclass(frozen=True)
class Recommendation:
    """Ranked items and their source; `fallback_reason` is None for the student over the full history."""

    request_id: str
    items: tuple[Item, ...]
    source: str
    fallback_reason: str | None
    model: dict[str, str] | None
    experiment: dict[str, str] | None
    next: str | None
    impression: str | None = None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Parse the server's JSON; fields of newer servers are ignored."""
        items = tuple(
            Item(item["item_id"], item["score"], item["rank"], item.get("reason"), item.get("fields"))
            for item in document["items"]
        )
        names = ("request_id", "source", "fallback_reason", "model", "experiment", "next")
        return cls(items=items, impression=document.get("impression"), **{name: document[name] for name in names})

    @property
    def is_personal(self) -> bool:
        """Whether the list is personalised."""
        return self.source in ("student", "partial_history", "session", "similar_items")


@dataclass(frozen=True)
class Event:
    """One interaction with an item. The client creates the id, so that an event that is sent twice counts once.

    Attributes:
        impression: `impression` of the recommendation that showed the item; attributes the event to that list.
    """

    item_id: str
    user_id: str | None = None
    session_id: str | None = None
    event_type: str = "click"
    value: float | None = None
    timestamp: datetime | None = None
    request_id: str | None = None
    impression: str | None = None
    impressions: tuple[str, ...] = ()
    event_id: str = field(default_factory=lambda: uuid4().hex)

    def document(self) -> dict[str, Any]:
        """Return the JSON values.

        Raises:
            ValueError: `timestamp` has no time zone.
        """
        if self.timestamp is not None and self.timestamp.tzinfo is None:
            raise ValueError("timestamp has no time zone; use datetime.now(UTC)")
        values = {name: value for name, value in vars(self).items() if value not in (None, ())}
        if self.timestamp is not None:
            values["timestamp"] = self.timestamp.isoformat()
        return values


@dataclass(frozen=True)
class Accepted:
    """Number of accepted events, and of those that were new to a history.

    errors: events that were not stored, each as `where` (place in the list, from 0) and `why`; send them again.
    hints: accepted events that probably differ from what was meant, such as those of unknown items.
    """

    request_id: str
    accepted: int
    new: int
    errors: tuple[dict[str, str], ...] = ()
    hints: tuple[dict[str, str], ...] = ()

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Parse the server's JSON."""
        remarks = {name: tuple(document.get(name) or ()) for name in ("errors", "hints")}
        return _from_document(cls, {**document, **remarks})


@dataclass(frozen=True)
class HistoryEntry:
    """One stored event; `time_ms` since 1970."""

    item_id: str
    time_ms: int

    @classmethod
    def read_all(cls, documents: Iterable[Mapping[str, Any]]) -> list[Self]:
        """Parse the server's JSON."""
        return [_from_document(cls, document) for document in documents]


@dataclass(frozen=True)
class Known:
    """All data of a user; `stored` is the content of the database, None without one."""

    request_id: str
    events: list[HistoryEntry]
    profiles: list[dict[str, str]]
    themes: list[str]
    stored: dict[str, Any] | None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Parse the server's JSON."""
        return _from_document(cls, {**document, "events": HistoryEntry.read_all(document["events"])})


@dataclass(frozen=True)
class Erasure:
    """State of an erasure, `pending` or `done`; counts are None until the database has answered."""

    request_id: str
    status: str
    requested_ms: int
    finished_ms: int | None
    history: int
    profiles: int | None
    events: int | None
    exposures: int | None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Parse the server's JSON."""
        return _from_document(cls, document)


class RetortProblem(Exception):  # noqa: N818 - the RFC's own word
    """The server's problem document (RFC 9457)."""

    def __init__(self, document: Mapping[str, Any], status: int, retry_after_s: float | None) -> None:
        super().__init__(document.get("detail") or f"status {status}")
        self.status = status
        self.request_id: str | None = document.get("request_id")
        self.errors: list[dict[str, str]] = document.get("errors") or []
        self.retry_after_s = retry_after_s


def _from_document(cls: type[D], document: Mapping[str, Any]) -> D:
    """Create the class from its fields in the document; further fields are ignored."""
    return cls(**{entry.name: document[entry.name] for entry in fields(cls)})  # type: ignore[arg-type]

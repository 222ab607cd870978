"""What is sent and what comes back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Self, TypeVar
from uuid import uuid4

D = TypeVar("D")


@dataclass(frozen=True)
class Weighting:
    """Adds to (boost) or takes from (bury) the score of whatever passes a filter; 0.7 doubles the odds."""

    filter: Mapping[str, Any]
    by: float


@dataclass(frozen=True)
class Pin:
    """An item at a place, 1 is the first."""

    item_id: str
    position: int


@dataclass(frozen=True)
class Item:
    """One recommended item; rank 1 is best, a pinned item has no score."""

    item_id: str
    score: float | None
    rank: int
    reason: dict[str, Any] | None = None
    fields: dict[str, Any] | None = None


@dataclass(frozen=True)
class Recommendation:
    """The ranked items and where they come from; `fallback_reason` is None where the student knew everything."""

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
        """From the server's JSON; what a newer server adds is left aside."""
        items = tuple(
            Item(one["item_id"], one["score"], one["rank"], one.get("reason"), one.get("fields"))
            for one in document["items"]
        )
        names = ("request_id", "source", "fallback_reason", "model", "experiment", "next")
        return cls(items=items, impression=document.get("impression"), **{name: document[name] for name in names})

    @property
    def is_personal(self) -> bool:
        """Whether the answer is about this user at all."""
        return self.source in ("student", "partial_history", "session", "similar_items")


@dataclass(frozen=True)
class Event:
    """What somebody did. The id is made here, so that sending again counts once.

    impression: the answer's, where the item was shown in one: the event then counts for that list.
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
        """As JSON values; a time without a zone is refused here, where it is easy to see."""
        if self.timestamp is not None and self.timestamp.tzinfo is None:
            raise ValueError("timestamp needs a zone, as in datetime.now(UTC)")
        values = {name: value for name, value in vars(self).items() if value not in (None, ())}
        if self.timestamp is not None:
            values["timestamp"] = self.timestamp.isoformat()
        return values


@dataclass(frozen=True)
class Accepted:
    """What became of sent events."""

    request_id: str
    accepted: int
    new: int

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """From the server's JSON."""
        return _pick(cls, document)


@dataclass(frozen=True)
class HistoryEntry:
    """One stored event; `time_ms` since 1970."""

    item_id: str
    time_ms: int

    @classmethod
    def read_all(cls, documents: Iterable[Mapping[str, Any]]) -> list[Self]:
        """From the server's JSON."""
        return [_pick(cls, one) for one in documents]


@dataclass(frozen=True)
class Known:
    """Everything that is known of a user; `stored` is what the database holds, None where serving has none."""

    request_id: str
    events: list[HistoryEntry]
    profiles: list[dict[str, str]]
    themes: list[str]
    stored: dict[str, Any] | None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """From the server's JSON."""
        return _pick(cls, {**document, "events": HistoryEntry.read_all(document["events"])})


@dataclass(frozen=True)
class Erasure:
    """How far an erasure is, `pending` or `done`; counts are None until the database has answered."""

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
        """From the server's JSON."""
        return _pick(cls, document)


class RetortProblem(Exception):  # noqa: N818 - the RFC's own word
    """The server's problem document (RFC 9457)."""

    def __init__(self, document: Mapping[str, Any], status: int, retry_after_s: float | None) -> None:
        super().__init__(document.get("detail") or f"status {status}")
        self.status = status
        self.request_id: str | None = document.get("request_id")
        self.errors: list[dict[str, str]] = document.get("errors") or []
        self.retry_after_s = retry_after_s


def _pick(cls: type[D], document: Mapping[str, Any]) -> D:
    """The class from its own fields; what a newer server adds is left aside."""
    return cls(**{one.name: document[one.name] for one in fields(cls)})  # type: ignore[arg-type]

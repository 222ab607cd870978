"""What the `/users` routes take and give."""

from typing import Any

from pydantic import BaseModel, Field

from retort.serving.schemas.requests import Body, Id


class HistoryEntry(BaseModel):
    """One stored event."""

    item_id: str
    time_ms: int = Field(description="the event's own time, in ms since 1970")


class History(BaseModel):
    """A stored history, oldest first."""

    request_id: str
    events: list[HistoryEntry]


class ProfileText(BaseModel):
    """What a language model wrote of the user, offline."""

    aspect: str
    text: str
    model: str
    written_at: str


class Stored(BaseModel):
    """What the database holds: rows that have been drained, newest first, at most 1,000 of a kind."""

    choice: dict[str, Any] | None = Field(description="what the person decided about their own profile")
    n_events: int
    events: list[dict[str, Any]]
    n_exposures: int
    exposures: list[dict[str, Any]] = Field(description="lists that were shown to the user")


class Known(BaseModel):
    """Everything that this server and its stores know of a user; vectors stand in the files of training runs alone."""

    request_id: str
    events: list[HistoryEntry] = Field(description="the history that answers are made from")
    profiles: list[ProfileText]
    themes: list[str] = Field(description="words of the profile that explanations are made with")
    stored: Stored | None = Field(description="null where serving has no database")


class MergeRequest(Body):
    """The guest whose history becomes the user's."""

    session_id: Id | None = None
    user_id: Id | None = None


class Merged(BaseModel):
    """How many events were new to the user."""

    request_id: str
    moved: int


class ErasureDocument(BaseModel):
    """How far an erasure is."""

    request_id: str
    status: str = Field(description="pending or done")
    requested_ms: int = Field(description="what came after this stays, however often the request is sent")
    finished_ms: int | None
    history: int = Field(description="events forgotten")
    profiles: int | None = Field(description="profiles deleted; null until the database has answered")
    events: int | None = Field(description="events deleted from the database; null until it has answered")
    exposures: int | None = Field(description="shown lists deleted; null until the database has answered")

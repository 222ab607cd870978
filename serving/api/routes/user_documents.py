"""Schemas of the `/users` routes."""

from typing import Any

from pydantic import BaseModel, Field

from retort.serving.schemas.requests import Body, IdAsSent


class HistoryEntry(BaseModel):
    """One stored event."""

    item_id: str
    time_ms: int = Field(description="time of the event, in ms since 1970")


class UserList(BaseModel):
    """Users who have a history, in order of their ids."""

    request_id: str
    user_ids: list[str]
    known: int = Field(description="users in the sample that was searched, at most 20,000")
    is_complete: bool = Field(description="whether the sample holds every user")


class History(BaseModel):
    """A stored history, oldest first."""

    request_id: str
    events: list[HistoryEntry]


class ProfileText(BaseModel):
    """A profile text that a language model wrote offline."""

    aspect: str
    text: str
    model: str
    written_at: str


class Stored(BaseModel):
    """Rows of the database, newest first, at most 1,000 of each table."""

    choice: dict[str, Any] | None = Field(description="the user's choice about the profile")
    n_events: int
    events: list[dict[str, Any]]
    n_exposures: int
    exposures: list[dict[str, Any]] = Field(description="lists that were shown to the user")


class Known(BaseModel):
    """All data of a user in this server's stores; vectors exist only in the files of training runs."""

    request_id: str
    events: list[HistoryEntry] = Field(description="history that recommendations use")
    profiles: list[ProfileText]
    themes: list[str] = Field(description="themes of the profile that explanations use")
    stored: Stored | None = Field(description="null without a database")


class MergeRequest(Body):
    """The guest whose history is moved to the user: a session or another user."""

    session_id: IdAsSent | None = None
    user_id: IdAsSent | None = None


class Merged(BaseModel):
    """Number of events that were new to the user."""

    request_id: str
    moved: int


class ErasureDocument(BaseModel):
    """State of an erasure."""

    request_id: str
    status: str = Field(description="pending or done")
    requested_ms: int = Field(description="time of the first request; data stored later is kept")
    finished_ms: int | None
    history: int = Field(description="events deleted from the history")
    profiles: int | None = Field(description="deleted profiles; null until the database has answered")
    events: int | None = Field(description="events deleted from the database; null until it has answered")
    exposures: int | None = Field(description="deleted exposures; null until the database has answered")

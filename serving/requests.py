"""What a caller may ask; validated once, straight from the body's bytes."""

from typing import Annotated, Any, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from serving.problems import invalid
from shared.schema import MAX_ID_LENGTH, MAX_K

# No control characters: ids travel in logs of others, in keys and in headers.
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=r"^[^\x00-\x1f\x7f]+$")]

MAX_HISTORY = 1000
MAX_EXCLUDE = 2000
MAX_CANDIDATES = 10_000
MAX_EVENTS = 1000


class Body(BaseModel):
    """Frozen; a key that nobody reads is refused, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RecommendRequest(Body):
    """Name a user, a session, or hand over the history itself."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": "u42", "k": 10}, {"history": ["i7", "i12"], "exclude": ["i3"]}]}
    )

    user_id: Id | None = Field(None, description="whose history to use")
    session_id: Id | None = Field(None, description="used where the user has no history")
    history: list[Id] | None = Field(
        None, max_length=MAX_HISTORY, description="item ids, oldest first; given, no stored history is read"
    )
    k: int = Field(10, ge=1, le=MAX_K, description="items wanted")
    exclude: list[Id] = Field([], max_length=MAX_EXCLUDE, description="items that must not come back")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.user_id is None and self.session_id is None and self.history is None:
            raise ValueError("name a user_id, a session_id or a history")
        return self


def parse_recommend(body: bytes) -> RecommendRequest:
    """The request in a body; 422 says where it is wrong."""
    try:
        return RecommendRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False, include_context=False)) from None


def parse_recommend_query(values: dict[str, Any]) -> RecommendRequest:
    """The request in a query string; lists are separated by commas."""
    try:
        return RecommendRequest.model_validate(values)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False, include_context=False)) from None


class Event(Body):
    """Somebody did something with an item."""

    event_id: Id | None = Field(None, description="the same id is the same event, however often it is sent")
    user_id: Id | None = None
    session_id: Id | None = None
    item_id: Id
    event_type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")] = "click"
    value: float | None = Field(None, allow_inf_nan=False, description="rating, price, seconds watched")
    timestamp: AwareDatetime | None = Field(
        None, description="ISO 8601 with a zone, or seconds or milliseconds since 1970; missing: now"
    )
    request_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = Field(
        None, description="the answer that showed the item"
    )
    impressions: list[Id] = Field([], max_length=MAX_K, description="what was shown beside it")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.user_id is None and self.session_id is None:
            raise ValueError("name a user_id or a session_id")
        return self


_EVENTS = TypeAdapter(Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS)])


def parse_events(body: bytes) -> list[Event]:
    """One event, or a list of them."""
    try:
        if body.lstrip()[:1] == b"[":
            return _EVENTS.validate_json(body)
        return [Event.model_validate_json(body)]
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False, include_context=False)) from None

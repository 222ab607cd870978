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

from retort.serving.schemas.impression_tokens import PATTERN as IMPRESSION
from retort.serving.schemas.impression_tokens import read_impression
from retort.serving.schemas.paging import MAX_TOKEN
from retort.serving.schemas.problems import invalid
from retort.shared.base.schema import MAX_ID_LENGTH, MAX_K

# No control characters: ids travel in logs of others, in keys and in headers.
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=r"^[^\x00-\x1f\x7f]+$")]

AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Filter = dict[str, Any]  # the language of `serving/catalogue/filters.py`, which checks it against the items' attributes

MAX_HISTORY = 1000
MAX_EXCLUDE = 2000
MAX_CANDIDATES = 10_000
MAX_EVENTS = 1000
MAX_WEIGHTINGS = 20
MAX_PINS = 50
MAX_CAPS = 10
MAX_FIELDS = 50

_PLAIN = frozenset({"user_id", "session_id", "history", "k", "exclude", "dry_run"})


class Body(BaseModel):
    """Frozen; a key that nobody reads is refused, not ignored.

    Empty lists come from factories: a default value would be copied deeply for every request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Weighting(Body):
    """Adds to the score of whatever passes a filter; scores are logits, 0.7 doubles the odds."""

    filter: Filter
    by: float = Field(gt=0, le=1000, allow_inf_nan=False)


class Pin(Body):
    """An item at a place, 1 is the first."""

    item_id: Id
    position: int = Field(ge=1, le=MAX_K)


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
    exclude: list[Id] = Field(default_factory=list, max_length=MAX_EXCLUDE, description="items that must not come back")
    candidates: list[Id] | None = Field(None, max_length=MAX_CANDIDATES, description="rank only these")
    filter: Filter | None = Field(None, description="conditions on item attributes; see the filter language")
    strict_filter: bool = Field(
        False, description="where nothing passes the filter: true gives an empty list, false popular items"
    )
    boost: list[Weighting] = Field(
        default_factory=list, max_length=MAX_WEIGHTINGS, description="raise the scores of what passes"
    )
    bury: list[Weighting] = Field(
        default_factory=list, max_length=MAX_WEIGHTINGS, description="lower the scores of what passes"
    )
    pins: list[Pin] = Field(
        default_factory=list, max_length=MAX_PINS, description="items at fixed places; exclusions and filters win"
    )
    caps: dict[AttributeName, Annotated[int, Field(ge=1, le=MAX_K)]] = Field(
        default_factory=dict, max_length=MAX_CAPS, description="at most so many items of each value of an attribute"
    )
    diversity: float = Field(0.0, ge=0, le=1, description="0: the ranking itself; 1: as unlike as can be")
    segment: Filter | None = Field(None, description="where nothing is known: popular among what passes")
    fields: list[AttributeName] = Field(
        default_factory=list, max_length=MAX_FIELDS, description="attributes to show with each item"
    )
    explain: bool = Field(False, description="say why each item is there")
    next: str | None = Field(None, max_length=MAX_TOKEN, description="from the last answer: more without repeats")
    dry_run: bool = Field(False, description="answer, but count and log nothing as shown")

    @property
    def is_plain(self) -> bool:
        """True where nothing but user, history, k and exclusions was said: the hot path."""
        return self.model_fields_set <= _PLAIN

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
    """The request in a query string's values; lists come as lists."""
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
    request_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,80}$")] | None = Field(
        None, description="the answer that showed the item"
    )
    impression: Annotated[str, StringConstraints(pattern=IMPRESSION)] | None = Field(
        None, description="the answer's `impression`: the event counts for the list that showed the item"
    )
    impressions: list[Id] = Field(default_factory=list, max_length=MAX_K, description="what was shown beside it")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.user_id is None and self.session_id is None:
            raise ValueError("name a user_id or a session_id")
        return self

    @property
    def shown_by(self) -> str | None:
        """The request that showed the item, whichever way the sender names it."""
        return self.request_id or (read_impression(self.impression).request_id if self.impression else None)


_EVENTS = TypeAdapter(Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS)])


def parse_events(body: bytes) -> list[Event]:
    """One event, or a list of them."""
    try:
        if body.lstrip()[:1] == b"[":
            return _EVENTS.validate_json(body)
        return [Event.model_validate_json(body)]
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False, include_context=False)) from None

"""Request schemas of the HTTP API, validated once and directly from the body's bytes."""

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from retort.serving.schemas.problems import invalid
from retort.serving.schemas.tokens import IMPRESSION_PATTERN, MAX_NEXT_LENGTH, read_impression
from retort.shared.base.ids import canonical_id, canonical_ids, has_lost_digits
from retort.shared.base.schema import MAX_ID_LENGTH, MAX_K
from retort.shared.base.text import ID_PATTERN, MISSING_IDS

# No control characters: ids are written to logs, Redis keys and headers.
IdAsSent = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=ID_PATTERN)]


def _canonical(value: str) -> str:
    if not (found := canonical_id(value)):
        raise ValueError("it is blank; send the id, or leave the field out")
    return found


def _all_canonical(values: list[str]) -> list[str]:
    found = canonical_ids(values)
    if found is not values and "" in found:
        raise ValueError("one of the ids is blank; leave it out")
    return found


def _canonical_value(value: str) -> str:
    found = _canonical(value)
    if found in MISSING_IDS:
        raise ValueError(f"{found} is how programs write a missing value; send the id, or leave the field out")
    if has_lost_digits(value):
        raise ValueError("it was written as a float and may have lost digits; send all digits of the id as text")
    return found


# The id as training reads it, so that " ann" and "ann", or "1.0" and "1", are one user. Lists are checked as a whole,
# because a call for each id would take longer than the rest of the request.
Id = Annotated[IdAsSent, AfterValidator(_canonical)]
ALL_CANONICAL = AfterValidator(_all_canonical)
# An id that is stored: a `null` of many callers would be one user, and training leaves it out or refuses the data.
StoredId = Annotated[IdAsSent, AfterValidator(_canonical_value)]


def _refuse_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("true and false are not numbers; send a number")
    return value


# For every number of a body: JSON's `true` would count as 1. Texts such as "10" are read as numbers, as in a query.
NOT_BOOLEAN = BeforeValidator(_refuse_boolean)

AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Filter = dict[str, Any]  # see `catalogue/filters.py`, which checks it against the items' attributes

MAX_HISTORY = 1000
MAX_EXCLUDE = 2000
MAX_CANDIDATES = 10_000
MAX_EVENTS = 1000
MAX_WEIGHTINGS = 20
MAX_PINS = 50
MAX_CAPS = 10
MAX_FIELDS = 50

_PLAIN_FIELDS = frozenset({"user_id", "session_id", "history", "k", "exclude", "dry_run"})


class Body(BaseModel):
    """Base of request bodies: frozen, and unknown keys are rejected.

    Empty lists come from factories because pydantic copies a default value deeply for every request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Weighting(Body):
    """An addition to the score of the items that pass a filter; scores are logits, so 0.7 doubles the odds."""

    filter: Filter
    by: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False), NOT_BOOLEAN]


class Pin(Body):
    """An item at a fixed position; 1 is the first."""

    item_id: Id
    position: Annotated[int, Field(ge=1, le=MAX_K), NOT_BOOLEAN]


class RecommendRequest(Body):
    """A request for recommendations; it names a user or a session, or carries the history itself."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": "u42", "k": 10}, {"history": ["i7", "i12"], "exclude": ["i3"]}]}
    )

    user_id: Id | None = Field(None, description="user whose stored history is read")
    session_id: Id | None = Field(None, description="session whose history is read when the user has none")
    history: Annotated[list[IdAsSent], ALL_CANONICAL] | None = Field(
        None, max_length=MAX_HISTORY, description="item ids, oldest first; replaces the stored history"
    )
    k: Annotated[int, Field(ge=1, le=MAX_K, description="number of items"), NOT_BOOLEAN] = 10
    exclude: Annotated[list[IdAsSent], ALL_CANONICAL] = Field(
        default_factory=list, max_length=MAX_EXCLUDE, description="items to leave out"
    )
    candidates: Annotated[list[IdAsSent], ALL_CANONICAL] | None = Field(
        None, max_length=MAX_CANDIDATES, description="rank only these items"
    )
    filter: Filter | None = Field(None, description="conditions on item attributes, in the filter language")
    strict_filter: bool = Field(
        False, description="when no item passes the filter: true returns an empty list, false returns popular items"
    )
    boost: list[Weighting] = Field(
        default_factory=list, max_length=MAX_WEIGHTINGS, description="raise the scores of items that pass a filter"
    )
    bury: list[Weighting] = Field(
        default_factory=list, max_length=MAX_WEIGHTINGS, description="lower the scores of items that pass a filter"
    )
    pins: list[Pin] = Field(
        default_factory=list,
        max_length=MAX_PINS,
        description="items at fixed positions; exclusions and filters take precedence",
    )
    caps: dict[AttributeName, Annotated[int, Field(ge=1, le=MAX_K), NOT_BOOLEAN]] = Field(
        default_factory=dict, max_length=MAX_CAPS, description="maximum number of items for each value of an attribute"
    )
    diversity: Annotated[
        float, Field(ge=0, le=1, description="0 keeps the order of the scores; 1 maximises diversity"), NOT_BOOLEAN
    ] = 0.0
    segment: Filter | None = Field(
        None, description="filter for the popular items that are returned when the history is unknown"
    )
    fields: list[AttributeName] = Field(
        default_factory=list, max_length=MAX_FIELDS, description="attributes to return with each item"
    )
    explain: bool = Field(False, description="return a reason with each item")
    next: str | None = Field(
        None,
        max_length=MAX_NEXT_LENGTH,
        description="token of the previous response; continues the list without repeats",
    )
    dry_run: bool = Field(False, description="return the list without recording it as shown")

    @property
    def is_plain(self) -> bool:
        """True for the fast path: only user, session, history, k, exclusions and dry_run are set."""
        return self.model_fields_set <= _PLAIN_FIELDS

    @model_validator(mode="after")
    def _require_subject(self) -> Self:
        if self.user_id is None and self.session_id is None and self.history is None:
            raise ValueError("give a user_id, a session_id or a history")
        return self


def parse_recommend(body: bytes) -> RecommendRequest:
    """Parse a JSON body; a `Problem` 422 names the invalid field."""
    try:
        return RecommendRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid(
            error.errors(include_url=False, include_input=False, include_context=False), RecommendRequest
        ) from None


def parse_recommend_query(values: dict[str, Any]) -> RecommendRequest:
    """Parse the values of a query string, in which lists are lists; a `Problem` 422 names the invalid field."""
    try:
        return RecommendRequest.model_validate(values)
    except ValidationError as error:
        raise invalid(
            error.errors(include_url=False, include_input=False, include_context=False), RecommendRequest
        ) from None


class Event(Body):
    """One interaction of a user or a session with an item."""

    event_id: IdAsSent | None = Field(
        None,
        description="idempotency key: of the events of one user (or session) with the same id, the first counts, "
        "whichever items the others name",
    )
    user_id: StoredId | None = None
    session_id: StoredId | None = None
    item_id: StoredId
    event_type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")] = "click"
    value: Annotated[float, Field(allow_inf_nan=False), NOT_BOOLEAN] | None = Field(
        None, description="rating, price or seconds watched"
    )
    timestamp: AwareDatetime | None = Field(
        None, description="ISO 8601 with a zone, or seconds or milliseconds since 1970; default: now"
    )
    request_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,80}$")] | None = Field(
        None, description="request id of the response that showed the item"
    )
    impression: Annotated[str, StringConstraints(pattern=IMPRESSION_PATTERN)] | None = Field(
        None, description="`impression` of the response that showed the item; the event is attributed to that list"
    )
    impressions: Annotated[list[IdAsSent], ALL_CANONICAL] = Field(
        default_factory=list, max_length=MAX_K, description="items that were shown together with it"
    )

    @model_validator(mode="after")
    def _require_subject(self) -> Self:
        if self.user_id is None and self.session_id is None:
            raise ValueError("give a user_id or a session_id")
        return self

    @property
    def shown_by(self) -> str | None:
        """Id of the request that showed the item, from `request_id` or from `impression`."""
        return self.request_id or (read_impression(self.impression).request_id if self.impression else None)


_EVENTS = TypeAdapter(Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS)])


def parse_events(body: bytes) -> list[Event]:
    """Parse one event or a list of events; a `Problem` 422 names the invalid field."""
    try:
        if body.lstrip()[:1] == b"[":
            return _EVENTS.validate_json(body)
        return [Event.model_validate_json(body)]
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False, include_context=False), Event) from None

"""Response schemas of the HTTP API, and the fast serialisation of a recommendation."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from retort.serving.schemas.tokens import Impression


class Source(StrEnum):
    """Origin of a list, in the order of the fallback chain."""

    STUDENT = "student"
    PARTIAL_HISTORY = "partial_history"
    SESSION = "session"
    SIMILAR = "similar_items"
    POPULAR_SEGMENT = "popular_in_segment"
    POPULAR = "popular"
    STATIC = "static"
    NONE = "none"


class Reason(StrEnum):
    """Reason why a list is not the student's over the full history."""

    UNKNOWN_USER = "unknown_user"
    EMPTY_HISTORY = "empty_history"
    NO_KNOWN_ITEMS = "no_known_items"
    HISTORY_UNAVAILABLE = "history_unavailable"
    DEADLINE = "deadline"
    STUDENT_FAILED = "student_failed"
    NO_BUNDLE = "no_bundle"
    FILTER_MATCHES_NOTHING = "filter_matches_nothing"
    NOT_ENOUGH_ITEMS = "not_enough_items"
    NO_VECTORS = "no_vectors"
    HOLDOUT = "holdout"


class Item(BaseModel):
    """One recommended item."""

    item_id: str
    score: float | None = Field(description="comparable within one response only; null for a pinned item")
    rank: int = Field(description="1 is the best")
    reason: dict[str, Any] | None = Field(None, description="with `explain`: why the item is in the list")
    fields: dict[str, Any] | None = Field(None, description="with `fields`: attributes of the item")


class Model(BaseModel):
    """Bundle that produced the list."""

    name: str
    version: str


class ExperimentRef(BaseModel):
    """A/B test and variant that the caller is assigned to."""

    name: str
    variant: str


class RecommendAnswer(BaseModel):
    """Ranked items with the origin of the list."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request_id": "6f1c0e4b9a7d2f35",
                    "items": [
                        {"item_id": "i12", "score": 4.71, "rank": 1},
                        {"item_id": "i7", "score": 4.02, "rank": 2},
                    ],
                    "source": "student",
                    "fallback_reason": None,
                    "model": {"name": "ml1m_sasrec_profile", "version": "0f3c9a5be17d2c44"},
                    "experiment": None,
                    "impression": "6f1c0e4b9a7d2f35.student.",
                    "next": None,
                }
            ]
        }
    )

    request_id: str
    items: list[Item]
    source: Source
    fallback_reason: Reason | None
    model: Model | None
    experiment: ExperimentRef | None
    impression: str = Field(
        description="return it with events about these items, so that they are attributed to this list"
    )
    next: str | None = Field(description="return it to continue the list without repeats; null: no more items")


@dataclass(slots=True)
class Recommendation:
    """A finished recommendation before serialisation."""

    item_ids: list[str]
    scores: list[float | None]
    source: Source
    reason: Reason | None = None
    model: dict[str, str] | None = None
    first_rank: int = 1
    reasons: list[dict[str, Any] | None] | None = None
    fields: list[dict[str, Any]] | None = None
    experiment: dict[str, str] | None = None
    next_token: str | None = None

    def impression(self, request_id: str) -> Impression:
        """Return the impression that identifies this list in events."""
        if self.experiment is None:
            return Impression(request_id, self.source)
        return Impression(request_id, self.source, self.experiment["variant"], self.experiment["name"])

    def document(self, request_id: str) -> dict[str, Any]:
        """Return the response body as documented by `RecommendAnswer`."""
        items: list[dict[str, Any]] = [
            {"item_id": item_id, "score": score, "rank": rank}
            for rank, (item_id, score) in enumerate(zip(self.item_ids, self.scores, strict=True), self.first_rank)
        ]
        for name, values in (("reason", self.reasons), ("fields", self.fields)):
            if values is not None:
                for item, value in zip(items, values, strict=True):
                    item[name] = value
        return {
            "request_id": request_id,
            "items": items,
            "source": self.source,
            "fallback_reason": self.reason,
            "model": self.model,
            "experiment": self.experiment,
            "impression": self.impression(request_id).token,
            "next": self.next_token,
        }

    def body(self, request_id: str) -> bytes:
        return orjson.dumps(self.document(request_id), default=str)

"""Typed Python client of a Retort server.

    with RetortClient("http://127.0.0.1:8000") as retort:
        retort.send([Event(item_id="i7", user_id="u1")])
        answer = retort.recommend("u1", k=5)
        for item in answer.items:
            print(item.rank, item.item_id)
        retort.send([Event(item_id="i9", user_id="u1", impression=answer.impression)])

`AsyncRetortClient` has the same methods as coroutines.
"""

from .clients import AsyncRetortClient, RetortClient
from .models import (
    Accepted,
    Erasure,
    Event,
    HistoryEntry,
    Item,
    Known,
    Pin,
    Recommendation,
    RetortProblem,
    Weighting,
)

__all__ = [
    "Accepted",
    "AsyncRetortClient",
    "Erasure",
    "Event",
    "HistoryEntry",
    "Item",
    "Known",
    "Pin",
    "Recommendation",
    "RetortClient",
    "RetortProblem",
    "Weighting",
]

"""Typed client of a Retort server.

    with RetortClient("http://127.0.0.1:8000") as retort:
        retort.send([Event(item_id="i7", user_id="u1")])
        for item in retort.recommend(user_id="u1", k=5).items:
            print(item.rank, item.item_id)

`AsyncRetortClient` has the same methods to be awaited.
"""

from .clients import AsyncRetortClient, RetortClient
from .models import Accepted, Event, Item, Recommendation, RetortProblem

__all__ = ["Accepted", "AsyncRetortClient", "Event", "Item", "Recommendation", "RetortClient", "RetortProblem"]

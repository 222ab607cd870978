"""Ranks by asking a running server: what users get, network and all, under the same questions as offline."""

# Shapes: B cases of a batch, K list length

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import httpx
import numpy as np

from retort.offline.common.http import request
from retort.shared.base.errors import StoreError
from retort.shared.base.schema import PAD
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.sequences import IntArray

_AT_ONCE = 8
_TIMEOUT_S = 30.0
# What one request may carry of a history; older events are sent as exclusions, which hide them all the same.
_INLINE_EVENTS = 1000


class ServerRanker:
    """A `Ranker` over HTTP. Use as a context manager.

    `by_events`: each history is posted as events of a user made for the purpose, the question is asked by `user_id`,
    and the user is erased again; so Redis is measured too. Else the history travels in the question.
    An answer that does not come from the student is an error: a fallback must not be measured as the model.
    """

    def __init__(self, url: str, items: ItemIndex, *, by_events: bool = False, api_key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(base_url=url, headers=headers)
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._items = items
        self._by_events = by_events
        self._marker = uuid.uuid4().hex[:12]

    def __enter__(self) -> "ServerRanker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        self._client.close()

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        """(B, K) item indexes as the server ranks them."""
        if any(len(seen) != len(history) for seen, history in zip(hidden, histories, strict=True)):
            raise StoreError("a server always hides what was seen; set evaluation.hide_seen = true to ask through one.")
        answers = list(
            self._pool.map(lambda ask: self._ask(ask[0], ask[1], k), zip(histories, users.tolist(), strict=True))
        )
        lists = np.full((len(histories), k), PAD, dtype=np.int64)
        for row, answer in zip(lists, answers, strict=True):
            indexes = self._items.indexes(answer)
            row[: len(indexes)] = indexes
        return lists

    def sealed(self) -> dict[str, Any]:
        """What the bundle that serves as champion was sealed with: the `metrics` of its manifest."""
        models = self._sent("GET", "/models", None).json()["models"]
        metrics = [model["metrics"] for model in models if model["alias"] == "champion"]
        if not metrics:
            raise StoreError(f"{self._client.base_url} serves no champion; publish a bundle (retort publish).")
        found: dict[str, Any] = metrics[0]
        return found

    def _ask(self, history: IntArray, user: int, k: int) -> list[str]:
        ids = [self._items.id(int(item)) for item in history]
        older, newer = ids[:-_INLINE_EVENTS], ids[-_INLINE_EVENTS:]
        question: dict[str, Any] = {"k": k, "exclude": older}
        if not self._by_events or not newer:
            return self._recommended({**question, "history": newer}, expected="student" if newer else None)
        user_id = f"evaluation-{self._marker}-{user}"
        self._sent("POST", "/events", self._events(user_id, newer))
        try:
            return self._recommended({**question, "user_id": user_id}, expected="student")
        finally:
            self._sent("DELETE", f"/users/{user_id}", None)

    def _events(self, user_id: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {
                "event_id": f"{user_id}-{place}",
                "user_id": user_id,
                "item_id": item_id,
                "event_type": "view",
                "timestamp": f"2000-01-01T00:{place // 60:02}:{place % 60:02}Z",
            }
            for place, item_id in enumerate(ids)
        ]

    def _recommended(self, question: dict[str, Any], *, expected: str | None) -> list[str]:
        answer = self._sent("POST", "/recommend", question).json()
        if expected and answer["source"] != expected:
            raise StoreError(
                f"the server answered from {answer['source']} ({answer.get('fallback_reason')}), not from the student; "
                "is it serving this bundle, and is its Redis up?"
            )
        return [item["item_id"] for item in answer["items"]]

    def _sent(self, method: str, path: str, body: Any) -> httpx.Response:
        try:
            response = request(self._client, method, path, json=body, deadline_s=_TIMEOUT_S)
        except httpx.HTTPError as error:
            raise StoreError(f"{self._client.base_url} does not answer ({error}); is the server up?") from None
        if response.is_error:
            raise StoreError(f"{method} {path}: status {response.status_code}: {response.text[:300]}")
        return response

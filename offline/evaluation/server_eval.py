"""Ranker that sends the offline cases to a running server, so that the whole request path is evaluated."""

# Shapes: B cases of a batch, K list length

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from types import TracebackType
from typing import Any

import httpx
import numpy as np

from retort.offline.common.http import request
from retort.shared.base.errors import StoreError
from retort.shared.base.schema import MAX_K, PAD
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.manifest import recommends_again
from retort.shared.model.sequences import IntArray

_CONCURRENT_REQUESTS = 8
_TIMEOUT_S = 30.0
# Limit of a request's history. Older items are sent as exclusions, so that they are hidden as well.
_INLINE_EVENTS = 1000
# Limit of a request's exclusions. What is over it is left out of a longer list afterwards.
_MAX_EXCLUDED = 2000


class ServerRanker:
    """`Ranker` over HTTP, used as a context manager.

    A response that does not come from the student is an error: a fallback must not be evaluated as the model.

    Args:
        url: Of the server.
        items: Index that maps the server's item ids to item indexes.
        by_events: Post each history as events of a temporary user, request by `user_id`, and erase the user again, so
            that Redis is evaluated too. Otherwise the request carries the history.
        api_key: Where the server requires one.
    """

    def __init__(self, url: str, items: ItemIndex, *, by_events: bool = False, api_key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(base_url=url, headers=headers)
        self._pool = ThreadPoolExecutor(_CONCURRENT_REQUESTS)
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
        """Request the list of each history; item indexes (B, K).

        Raises:
            StoreError: Server and evaluation differ in hiding seen items, the server does not answer, or a fallback
                answered.
        """
        for seen, history in zip(hidden, histories, strict=True):
            if len(history) and bool(len(seen)) != self.hides_seen:
                does, value = ("hides", "true") if self.hides_seen else ("shows", "false")
                raise StoreError(
                    f"the served bundle {does} seen items; set evaluation.hide_seen = {value} to evaluate it."
                )
        # the server cuts histories itself, to the `last_items` of its bundle, and hides the earlier items too
        whole = [seen if len(seen) else history for seen, history in zip(hidden, histories, strict=True)]
        responses = self._pool.map(self._request_list, whole, users.tolist(), [k] * len(histories))
        lists = np.full((len(histories), k), PAD, dtype=np.int64)
        for row, item_ids in zip(lists, responses, strict=True):
            indexes = self._items.indexes(item_ids)
            row[: len(indexes)] = indexes
        return lists

    @cached_property
    def sealed_metrics(self) -> dict[str, Any]:
        """The `metrics` in the manifest of the served champion, read once.

        Raises:
            StoreError: The server does not answer, or has no champion.
        """
        models = self._send("GET", "/models", None).json()["models"]
        metrics = [model["metrics"] for model in models if model["alias"] == "champion"]
        if not metrics:
            raise StoreError(f"{self._client.base_url} serves no champion; publish a bundle (retort publish).")
        sealed: dict[str, Any] = metrics[0]
        return sealed

    @cached_property
    def hides_seen(self) -> bool:
        """Whether the served champion hides the items of a history."""
        return not recommends_again(self.sealed_metrics)

    def _request_list(self, history: IntArray, user: int, k: int) -> list[str]:
        """Item ids of the list for one history."""
        ids = [self._items.id(int(item)) for item in history]
        older, newer = ids[:-_INLINE_EVENTS], ids[-_INLINE_EVENTS:]
        older = older if self.hides_seen else []
        hidden = list(dict.fromkeys(older[::-1]))
        excluded, over = hidden[:_MAX_EXCLUDED], set(hidden[_MAX_EXCLUDED:]).difference(newer)
        body: dict[str, Any] = {"k": min(k + len(over), MAX_K), "exclude": excluded}
        return [item_id for item_id in self._list(body, newer, user) if item_id not in over][:k]

    def _list(self, body: dict[str, Any], newer: Sequence[str], user: int) -> list[str]:
        """Item ids of the list for a request and the newer part of its history."""
        if not self._by_events or not newer:
            return self._recommend({**body, "history": newer}, expected="student" if newer else None)
        user_id = f"evaluation-{self._marker}-{user}"
        self._send("POST", "/events", self._events(user_id, newer))
        try:
            return self._recommend({**body, "user_id": user_id}, expected="student")
        finally:
            self._send("DELETE", f"/users/{user_id}", None)

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

    def _recommend(self, body: dict[str, Any], *, expected: str | None) -> list[str]:
        response = self._send("POST", "/recommend", body).json()
        if expected and response["source"] != expected:
            raise StoreError(
                f"the server answered from {response['source']} ({response.get('fallback_reason')}), not from the "
                "student; check that it serves this bundle and that its Redis is up."
            )
        return [item["item_id"] for item in response["items"]]

    def _send(self, method: str, path: str, body: Any) -> httpx.Response:
        try:
            response = request(self._client, method, path, json=body, deadline_s=_TIMEOUT_S)
        except httpx.HTTPError as error:
            raise StoreError(
                f"{self._client.base_url} does not answer ({error}); check that the server is up."
            ) from None
        if response.is_error:
            raise StoreError(f"{method} {path}: status {response.status_code}: {response.text[:300]}")
        return response

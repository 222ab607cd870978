"""Talks to a running server as a visitor would: asks, does something, asks again."""

from types import TracebackType
from typing import Any

import httpx
from rich.console import Console

from retort.offline.common.http import request
from retort.shared.base.errors import RetortError

_TIMEOUT_S = 10.0
_K = 5


class Conversation:
    """A visitor of the API. Use as a context manager."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url)

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ready(self) -> bool:
        """Whether a bundle answers."""
        try:
            return request(self._client, "GET", "/health/ready", deadline_s=_TIMEOUT_S).is_success
        except httpx.TransportError:
            return False

    def hold(self, console: Console, user_id: str) -> None:
        """Ask for a user, post an event, ask again; RetortError unless the student answered and changed its mind."""
        before = self.recommend(user_id)
        _show(console, f"/recommend for {user_id}, answered by the {before['source']}:", before)
        chosen = before["items"][0]["item_id"]
        self._sent("POST", "/events", {"user_id": user_id, "item_id": chosen, "event_type": "click"})
        after = self.recommend(user_id)
        _show(console, f"after {user_id} clicked {chosen}:", after)
        for answer in (before, after):
            if answer["source"] != "student":
                raise RetortError(
                    f"the API answered {user_id} from {answer['source']} ({answer['fallback_reason']}), "
                    "not from the student; read the API's log."
                )
        if _ids(before) == _ids(after):
            raise RetortError(f"the answer for {user_id} did not change after the event; read the API's log.")

    def recommend(self, user_id: str) -> dict[str, Any]:
        """The API's answer for a user."""
        answer: dict[str, Any] = self._sent("POST", "/recommend", {"user_id": user_id, "k": _K, "fields": ["title"]})
        return answer

    def _sent(self, method: str, path: str, body: dict[str, Any]) -> Any:
        try:
            response = request(self._client, method, path, json=body, deadline_s=_TIMEOUT_S)
        except httpx.HTTPError as error:
            raise RetortError(f"{method} {path} was not answered ({error}); read the API's log.") from None
        if response.is_error:
            raise RetortError(f"{method} {path}: status {response.status_code}: {response.text[:300]}")
        return response.json()


def _ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def _show(console: Console, title: str, answer: dict[str, Any]) -> None:
    console.print(title, markup=False, highlight=False)
    for item in answer["items"]:
        name = (item.get("fields") or {}).get("title") or ""
        console.print(f"  {item['rank']}. {item['item_id']:<8} {name}", markup=False, highlight=False)

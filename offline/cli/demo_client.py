"""HTTP client of the demo: requests recommendations, posts an event, and requests them again."""

from types import TracebackType
from typing import Any

import httpx
from rich.console import Console

from retort.offline.common.http import request
from retort.shared.base.errors import RetortError

_TIMEOUT_S = 10.0
_K = 5


class DemoClient:
    """Client of a running server. Use as a context manager."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url)

    def __enter__(self) -> "DemoClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def show_effect_of_event(self, console: Console, user_id: str) -> None:
        """Print a user's recommendations before and after a click on the first one.

        Raises:
            RetortError: The student was not the source, or the recommendations did not change.
        """
        before = self.recommend(user_id)
        _show(console, f"/recommend for {user_id}, answered by the {before['source']}:", before)
        chosen = before["items"][0]["item_id"]
        self._send("POST", "/events", {"user_id": user_id, "item_id": chosen, "event_type": "click"})
        after = self.recommend(user_id)
        _show(console, f"after {user_id} clicked {chosen}:", after)
        for response in (before, after):
            if response["source"] != "student":
                raise RetortError(
                    f"the recommendations for {user_id} came from {response['source']} "
                    f"({response['fallback_reason']}), not from the student; read the API's log."
                )
        if _ids(before) == _ids(after):
            raise RetortError(f"the recommendations for {user_id} did not change after the event; read the API's log.")

    def send_traffic(self, user_ids: list[str]) -> int:
        """Request a list for each user and click by rule: every third user, on the first or the second item.

        Returns:
            The number of clicks.
        """
        clicks = 0
        for number, user_id in enumerate(user_ids):
            shown = self.recommend(user_id)
            if number % 3 == 0:
                item = shown["items"][number % 2]["item_id"]
                click = {"user_id": user_id, "item_id": item, "event_type": "click", "impression": shown["impression"]}
                self._send("POST", "/events", click)
                clicks += 1
        return clicks

    def recommend(self, user_id: str) -> dict[str, Any]:
        """The API's response for a user."""
        response: dict[str, Any] = self._send("POST", "/recommend", {"user_id": user_id, "k": _K, "fields": ["title"]})
        return response

    def _send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        try:
            response = request(self._client, method, path, json=body, deadline_s=_TIMEOUT_S)
        except httpx.HTTPError as error:
            raise RetortError(f"{method} {path} failed ({error}); read the API's log.") from None
        if response.is_error:
            raise RetortError(f"{method} {path}: status {response.status_code}: {response.text[:300]}")
        return response.json()


def _ids(response: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in response["items"]]


def _show(console: Console, title: str, response: dict[str, Any]) -> None:
    console.print(title, markup=False, highlight=False)
    if not response["items"]:
        console.print("  (the user has had every item)", highlight=False)
    for item in response["items"]:
        name = (item.get("fields") or {}).get("title") or ""
        console.print(f"  {item['rank']}. {item['item_id']:<8} {name}", markup=False, highlight=False)

"""The ranker over HTTP against servers that do not answer as they should."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from retort.offline.evaluation.server_eval import ServerRanker
from retort.serving.schemas.requests import MAX_EXCLUDE, MAX_HISTORY
from retort.shared.base.errors import StoreError
from retort.shared.base.schema import MAX_K
from retort.shared.model.item_index import ItemIndex
from tests.offline.common._hostile import Pieces, endless_body, hostile_server, trickled_body, trickled_headers


@pytest.mark.parametrize("pieces", [trickled_headers, trickled_body, endless_body])
def test_a_server_that_trickles_or_never_ends_is_an_error(
    pieces: Callable[[], Pieces], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retort.offline.evaluation.server_eval._TIMEOUT_S", 0.5)
    started_s = time.monotonic()
    with (
        hostile_server(pieces) as url,
        ServerRanker(url, ItemIndex(["a", "b"])) as ranker,
        pytest.raises(StoreError, match="does not answer"),
    ):
        _ = ranker.sealed_metrics
    assert time.monotonic() - started_s < 3


def test_a_server_and_an_evaluation_that_differ_in_hiding_seen_items_are_not_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics = {"seen_hidden": False, "seen_targets": 50, "cases": 100}
    bodies: list[dict[str, Any]] = []

    def answer(_: ServerRanker, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        if path == "/models":
            return httpx.Response(200, json={"models": [{"alias": "champion", "metrics": metrics}]})
        bodies.append(body)
        return httpx.Response(200, json={"source": "student", "items": [{"item_id": "a"}]})

    monkeypatch.setattr(ServerRanker, "_send", answer)
    history, users = np.tile([1, 2], 600), np.array([0])
    with ServerRanker("http://test", ItemIndex(["a", "b"])) as ranker:
        assert ranker.sealed_metrics == metrics
        assert ranker.top_k([history], 1, [history[:0]], users).tolist() == [[1]]
        with pytest.raises(StoreError, match=r"shows seen items; set .* = false"):
            ranker.top_k([history], 1, [history], users)
    assert bodies[0]["exclude"] == [], "the older items are not hidden either"
    metrics["seen_hidden"] = True
    with (
        ServerRanker("http://test", ItemIndex(["a", "b"])) as ranker,
        pytest.raises(StoreError, match=r"hides seen items; set .* = true"),
    ):
        ranker.top_k([history], 1, [history[:0]], users)


def test_a_server_that_reads_the_last_items_gets_the_whole_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cuts the history itself, and hides the earlier items too, as the evaluation does."""
    bodies: list[dict[str, Any]] = []

    def answer(_: ServerRanker, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        if path == "/models":
            return httpx.Response(200, json={"models": [{"alias": "champion", "metrics": {"last_items": 1}}]})
        bodies.append(body)
        return httpx.Response(200, json={"source": "student", "items": [{"item_id": "d"}]})

    monkeypatch.setattr(ServerRanker, "_send", answer)
    with ServerRanker("http://test", ItemIndex(["a", "b", "c", "d"])) as ranker:
        ranker.top_k([np.array([3])], 1, [np.array([1, 2, 3])], np.array([0]))
    assert bodies[0]["history"] == ["a", "b", "c"]


def test_histories_over_the_limits_of_a_request_are_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[dict[str, Any]] = []
    ids = [f"i{n}" for n in range(9100)]

    def answer(_: ServerRanker, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        if path == "/models":
            return httpx.Response(200, json={"models": [{"alias": "champion", "metrics": {"seen_hidden": True}}]})
        bodies.append(body)
        assert (method, path) == ("POST", "/recommend")
        hidden = {*body["history"], *body["exclude"]}
        items = [{"item_id": item_id} for item_id in ids if item_id not in hidden][: body["k"]]
        return httpx.Response(200, json={"source": "student", "items": items})

    monkeypatch.setattr(ServerRanker, "_send", answer)
    history = np.concatenate([np.arange(1, 9), np.arange(20, 9000), np.arange(20, 40)])
    with ServerRanker("http://test", ItemIndex(ids)) as ranker:
        (row,) = ranker.top_k([history], 10, [history], np.array([0]))
    assert (len(bodies[0]["history"]), len(bodies[0]["exclude"])) == (MAX_HISTORY, MAX_EXCLUDE)
    assert bodies[0]["k"] == MAX_K
    assert not set(row.tolist()) & set(history.tolist())
    assert row[0] == 9

"""The ranker over HTTP against servers that do not answer as they should."""

import time
from collections.abc import Callable

import pytest

from retort.offline.evaluation.server_eval import ServerRanker
from retort.shared.base.errors import StoreError
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
        ranker.read_sealed_metrics()
    assert time.monotonic() - started_s < 3

"""The front: what it turns away is told to the caller and to whoever watches."""

from typing import Any

from tests.serving.conftest import MakeClient


def test_what_overload_turns_away_counts_among_the_requests_and_hides_nobodys_waiting(make_client: MakeClient) -> None:
    client = make_client()
    app: Any = client.app
    app.fast_path._max_waiting = 0
    for path in ("/recommend", "/models"):
        response = client.get(path, params={"user_id": "ann"})
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    metrics = client.get("/metrics").text
    assert 'retort_refused_requests_total{why="overload"} 2.0' in metrics
    assert 'retort_requests_total{route="refused",status="503"} 2.0' in metrics
    # at once, so that a flood of them would make the quantiles look good
    assert 'retort_request_seconds_count{route="refused"}' not in metrics

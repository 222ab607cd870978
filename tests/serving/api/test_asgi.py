"""Fast-path middleware: refused requests are reported and counted."""

from typing import Any

from tests.serving.conftest import MakeClient


def test_refused_requests_are_counted_and_left_out_of_the_latency(make_client: MakeClient) -> None:
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

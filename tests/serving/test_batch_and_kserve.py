"""Batch and KServe routes return the same lists as /recommend."""

from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from retort.shared.history.store import MemoryHistory
from tests.serving.conftest import MakeClient


def without_id(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("request_id", "impression")}


def test_a_batch_returns_the_lists_of_single_requests_in_order(make_client: MakeClient) -> None:
    # A busy machine must not turn one of the two into the answer of the deadline.
    client = make_client(deadline_s=60.0, batch_deadline_s=60.0, history_timeout_s=60.0)
    client.post("/events", json={"user_id": "ann", "item_id": "i7"})
    requests = [{"user_id": "ann", "k": 3}, {"user_id": "bob"}]
    requests += [{"history": [f"i{n}"], "k": n, "filter": {"available": True}} for n in range(1, 51)]
    body = b"\n".join(map(orjson.dumps, requests)) + b"\n\n"
    response = client.post("/recommend/batch", content=body)
    assert response.headers["content-type"] == "application/x-ndjson"
    answers = [orjson.loads(line) for line in response.content.splitlines()]
    singles = [client.post("/recommend", json=request).json() for request in requests]
    for answer, single in zip(answers, singles, strict=True):
        assert [item["item_id"] for item in answer["items"]] == [item["item_id"] for item in single["items"]]
        assert [item["score"] for item in answer["items"]] == pytest.approx(
            [i["score"] for i in single["items"]], rel=1e-4
        )
        assert without_id(answer) | {"items": 0} == without_id(single) | {"items": 0}


def test_an_invalid_line_gets_a_problem_at_its_position(client: TestClient) -> None:
    body = b'{"history": ["i1"]}\nrubbish\n{"history": [], "k": 0}\n{"history": ["i2"]}'
    lines = [orjson.loads(line) for line in client.post("/recommend/batch", content=body).content.splitlines()]
    assert [line.get("status", 200) for line in lines] == [200, 422, 422, 200]
    assert lines[1]["request_id"].endswith("-1")


def test_a_failing_line_does_not_affect_the_others(make_client: MakeClient) -> None:
    class Broken(MemoryHistory):
        async def recent(self, owners: Any, limit: int) -> list[list[str]]:
            if any(owner.id == "bob" for owner in owners):
                raise RuntimeError("a fault of ours")
            return await super().recent(owners, limit)

    lines = [{"history": ["i1"]}, {"user_id": "bob"}, {"history": ["i2"]}]
    answer = make_client(Broken()).post("/recommend/batch", content=b"\n".join(map(orjson.dumps, lines)))
    assert answer.status_code == 200
    first, failed, last = map(orjson.loads, answer.content.splitlines())
    assert first["source"] == last["source"] == "student"
    assert (failed["status"], failed["request_id"]) == (500, f"{answer.headers['x-request-id']}-1")


@pytest.mark.parametrize("body", [b"", b"\n\n", b"{}\n" * 4])
def test_too_few_and_too_many_lines_are_refused(make_client: MakeClient, body: bytes) -> None:
    assert make_client(max_lines=3).post("/recommend/batch", content=body).status_code == 422


def test_kserve_returns_the_list_of_recommend(client: TestClient) -> None:
    name, version = "tiny", client.get("/models").json()["models"][0]["version"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get(f"/v2/models/{name}").json()["versions"] == [version]
    assert client.get(f"/v2/models/{name}/versions/{version}/ready").json() == {"name": name, "ready": True}
    body = {
        "id": "7",
        "inputs": [{"name": "history", "datatype": "BYTES", "shape": [2], "data": ["i1", "i2"]}],
        "parameters": {"k": 4},
    }
    answer = client.post(f"/v2/models/{name}/infer", json=body).json()
    single = client.post("/recommend", json={"history": ["i1", "i2"], "k": 4}).json()
    assert answer["id"] == "7"
    assert answer["outputs"][0]["data"] == [item["item_id"] for item in single["items"]]
    assert answer["outputs"][1]["data"] == pytest.approx([item["score"] for item in single["items"]], rel=1e-4)


@pytest.mark.parametrize(
    ("shape", "status"), [([2], 200), ([1, 2], 200), ([3], 422), ([0], 422), ([2, 1], 422), ([2, 2], 422), ([1], 422)]
)
def test_a_shape_must_match_the_data(client: TestClient, shape: list[int], status: int) -> None:
    body = {"inputs": [{"name": "history", "datatype": "BYTES", "shape": shape, "data": ["i1", "i2"]}]}
    response = client.post("/v2/models/tiny/infer", json=body)
    assert response.status_code == status
    if status == 422:
        assert "[2] or [1, 2]" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/v2/models/none", "/v2/models/tiny/versions/none", "/v2/models/none/ready"])
def test_kserve_lists_loaded_bundles_only(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_both_readiness_probes_fail_during_shutdown(make_client: MakeClient) -> None:
    ready = ("/health/ready", "/v2/health/ready")
    assert [make_client(bundle=None).get(path).status_code for path in ready] == [503, 503]
    client = make_client()
    assert [client.get(path).status_code for path in ready] == [200, 200]
    app: Any = client.app
    app.services.shutdown.in_progress = True
    assert [client.get(path).status_code for path in ready] == [503, 503]

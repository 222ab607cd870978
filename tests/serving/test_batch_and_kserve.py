"""Batch and KServe routes return the same lists as /recommend."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from starlette.testclient import TestClient

from retort.shared.history.store import MemoryHistory
from tests.serving._process import serving_process
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


def test_rows_of_data_are_one_history(client: TestClient) -> None:
    tensor = {"name": "history", "datatype": "BYTES", "shape": [1, 2]}
    answers = [
        client.post("/v2/models/tiny/infer", json={"inputs": [{**tensor, "data": data}]}).json()["outputs"]
        for data in (["i1", "i2"], [["i1", "i2"]])
    ]
    assert answers[0] == answers[1]
    body = {"inputs": [{**tensor, "shape": [2, 1], "data": [["i1"], ["i2"]]}]}
    assert "the shape of one row of 2 items" in client.post("/v2/models/tiny/infer", json=body).json()["error"]


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


HISTORY = {"name": "history", "datatype": "BYTES", "shape": [1, 2], "data": ["i1", "i2"]}


@pytest.mark.parametrize(
    ("members", "outputs"),
    [
        ({}, ["item_ids", "scores"]),
        ({"outputs": []}, ["item_ids", "scores"]),
        ({"outputs": None}, ["item_ids", "scores"]),
        ({"outputs": [{"name": "scores"}]}, ["scores"]),
        ({"outputs": [{"name": "item_ids", "parameters": {"binary_data": False}}]}, ["item_ids"]),
        ({"parameters": {"binary_data_output": False, "priority": 1}}, ["item_ids", "scores"]),
        ({"inputs": [{**HISTORY, "parameters": {"content_type": "str"}}]}, ["item_ids", "scores"]),
        ({"inputs": [{**HISTORY, "data": [["i1", "i2"]]}]}, ["item_ids", "scores"]),
        ({"inputs": [{**HISTORY, "parameters": None}], "parameters": None}, ["item_ids", "scores"]),
        ({"outputs": [{"name": "scores", "parameters": None}]}, ["scores"]),
    ],
)
def test_the_members_of_the_protocol_are_accepted(
    client: TestClient, members: dict[str, Any], outputs: list[str]
) -> None:
    response = client.post("/v2/models/tiny/infer", json={"inputs": [HISTORY], **members})
    assert response.status_code == 200, response.text
    assert [output["name"] for output in response.json()["outputs"]] == outputs


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v2/models/tiny/infer", b"{", 422),
        ("POST", "/v2/models/tiny/infer", orjson.dumps({"inputs": [HISTORY], "outputs": [{"name": "x"}]}), 422),
        ("POST", "/v2/models/none/infer", orjson.dumps({"inputs": [HISTORY]}), 404),
        ("GET", "/v2/models/none", None, 404),
        ("GET", "/v2/none", None, 404),
        ("DELETE", "/v2", None, 405),
        ("POST", "/v2/models/tiny/infer", b"x" * 1_000_001, 413),
    ],
)
def test_errors_of_the_protocol_have_its_key(
    client: TestClient, method: str, path: str, body: bytes | None, status: int
) -> None:
    response = client.request(method, path, content=body)
    assert response.status_code == status
    assert response.json()["error"] == response.json()["detail"]


def test_problems_of_other_routes_keep_their_members(client: TestClient) -> None:
    assert "error" not in client.get("/none").json()


def test_the_server_describes_itself(client: TestClient) -> None:
    assert client.get("/v2").json() == {"name": "retort", "version": "1", "extensions": ["binary_tensor_data"]}


@pytest.mark.parametrize(
    ("length", "size", "tail"),
    [
        ("x", 6, b"\x02\0\0\0i1"),
        ("99999", 6, b"\x02\0\0\0i1"),
        (None, 7, b"\x02\0\0\0i1"),
        (None, 5, b"\x02\0\0\0i1"),
        (None, -1, b"\x02\0\0\0i1"),
        (None, 6, b"\x09\0\0\0i1"),
        (None, 6, b"\x02\0\0\0\xff\xfe"),
        (None, 2, b"i1"),
        (None, "6", b"\x02\0\0\0i1"),
    ],
)
def test_damaged_binary_tensors_are_refused(client: TestClient, length: str | None, size: object, tail: bytes) -> None:
    tensor = {"name": "history", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": size}}
    head = orjson.dumps({"inputs": [tensor]})
    headers = {"inference-header-content-length": length or str(len(head))}
    response = client.post("/v2/models/tiny/infer", content=head + tail, headers=headers)
    assert response.status_code == 422
    assert response.json()["error"]


def test_tritons_client_infers_and_reads_metadata(bundle_path: Path, tmp_path: Path) -> None:
    triton = pytest.importorskip("tritonclient.http", reason="requires tritonclient[http]")
    with serving_process(tmp_path, retort_bundle=bundle_path) as server:
        server.ready()
        client = triton.InferenceServerClient(server.url.removeprefix("http://"))
        try:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready("tiny")
            assert not client.is_model_ready("none")
            assert client.get_server_metadata()["name"] == "retort"
            assert client.get_model_metadata("tiny")["inputs"][0]["name"] == "history"
            expected = httpx.post(f"{server.url}/recommend", json={"history": ["i1", "i2"], "k": 3}).json()
            for is_binary in (True, False):
                history = triton.InferInput("history", [2], "BYTES")
                history.set_data_from_numpy(np.array(["i1", "i2"], dtype=np.object_), binary_data=is_binary)
                outputs = [triton.InferRequestedOutput("item_ids", binary_data=is_binary)]
                for wanted in (None, outputs):
                    answer = client.infer("tiny", [history], outputs=wanted, parameters={"k": 3})
                    ids = [item["item_id"] for item in expected["items"]]
                    assert answer.as_numpy("item_ids").tolist() == ids
            with pytest.raises(Exception, match="No such model is loaded"):
                client.infer("none", [history])
        finally:
            client.close()

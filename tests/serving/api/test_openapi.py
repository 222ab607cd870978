"""The OpenAPI document is enough to generate a client, which posts to a running server."""

import contextlib
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from retort.serving.api.api_docs import OPENAPI, api_files
from retort.serving.main import add_key
from tests.serving._process import serving_process
from tests.serving.conftest import MakeClient

PUBLIC = ("/health/", "/metrics", "/v2/health/")


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, route) for path, methods in document["paths"].items() for method, route in methods.items()]


@pytest.fixture
def document(make_client: MakeClient) -> dict[str, Any]:
    return dict(make_client().get("/openapi.json").json())


def test_operation_ids_are_unique_names(document: dict[str, Any]) -> None:
    ids = [route["operationId"] for _, _, route in operations(document)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z_0-9]+", name) and "__" not in name for name in ids)
    assert {"recommend", "send_events", "kserve_model_infer"} <= set(ids)


def test_bodies_and_problems_are_shared_schemas(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {"RecommendRequest", "Event", "InferRequest", "ProblemDocument", "Pin", "Weighting"} <= set(schemas)
    for method, path, route in operations(document):
        for status, response in route["responses"].items():
            if int(status) >= 400:
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ProblemDocument"}, (method, path, status)
    body = document["paths"]["/recommend"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/RecommendRequest"}


def test_every_reference_has_its_schema(document: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names <= set(document["components"]["schemas"])


def test_routes_of_data_name_the_security_schemes(document: dict[str, Any]) -> None:
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    for method, path, route in operations(document):
        is_public = path.startswith(PUBLIC) or path == "/v2"
        assert ("security" in route) != is_public, (method, path)


def generate(directory: Path) -> Any:
    generator = pytest.importorskip("openapi_python_client", reason="requires openapi-python-client")
    from openapi_python_client.config import Config, ConfigFile, MetaType

    source, target = directory / OPENAPI, directory / "retort_generated"
    source.write_text(api_files()[OPENAPI])
    plain = ConfigFile(post_hooks=[], package_name_override="retort_generated")
    config = Config.from_sources(plain, MetaType.NONE, source, "utf-8", overwrite=True, output_path=target)
    errors = generator.generate(config=config)
    # Generators know no JSON lines; every other operation must be there.
    assert all("x-ndjson" in str(error.detail) + str(error.header) for error in errors), errors
    return target


def test_a_generated_client_posts_to_a_server(
    bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    generated = importlib.import_module("retort_generated")
    models = importlib.import_module("retort_generated.models")
    recommend = importlib.import_module("retort_generated.api.recommend.recommend")
    send_events = importlib.import_module("retort_generated.api.events.send_events")
    key = add_key(tmp_path / "keys.json", "app", ["read", "write"], "default")
    settings = {"retort_bundle": bundle_path, "retort_keys_file": tmp_path / "keys.json"}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving_process(tmp_path, **settings))
        server.ready()
        client = stack.enter_context(generated.AuthenticatedClient(base_url=server.url, token=key))
        answer = recommend.sync(client=client, body=models.RecommendRequest(history=["i1"], k=3))
        assert (len(answer.items), answer.source) == (3, "student")
        event = models.Event(item_id="i1", user_id="ann")
        assert send_events.sync(client=client, body=event).accepted == 1
        assert send_events.sync(client=client, body=[event, models.Event(item_id="i2", user_id="ann")]).accepted == 2
        refused = recommend.sync(client=client, body=models.RecommendRequest(k=3))
        assert isinstance(refused, models.ProblemDocument)
        assert "user_id" in refused.detail
    for name in [name for name in sys.modules if name.startswith("retort_generated")]:
        del sys.modules[name]

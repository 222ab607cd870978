"""Schemathesis over the OpenAPI document: no 5xx, and only documented responses."""

import tempfile
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode

from retort.serving.api.app import create_app
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.settings import Settings
from retort.shared.db import migrate
from retort.shared.history.store import MemoryHistory


@schemathesis.serializer("application/x-ndjson")
def json_lines(ctx: schemathesis.SerializationContext, value: object) -> object:
    """Lines of whatever was made up, as they are."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"%r" % value


HOME = tempfile.TemporaryDirectory(prefix="retort-fuzz-")
SETTINGS = Settings(_env_file=None, retort_home=Path(HOME.name))
migrate.upgrade(SETTINGS.database)
APPLICATION = create_app(SETTINGS, ServingSettings(_env_file=None), histories=MemoryHistory())
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APPLICATION)
OPERATIONS = [result.ok() for result in SCHEMA.get_all_operations()]


@pytest.fixture(autouse=True)
def bundle_serves(bundle_path: Path) -> None:
    """All generated requests go to one application with a bundle."""
    slot = APPLICATION.services.models.slot("default")
    if slot.current is None:
        slot.swap(bundle_path)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_no_request_causes_a_server_error(operation: schemathesis.APIOperation, mode: GenerationMode) -> None:
    @settings(
        max_examples=8,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def holds(case: Case) -> None:
        response = case.call()
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            assert response.headers["content-type"][0] == "application/problem+json"

    try:
        holds()
    except Unsatisfiable:
        pytest.skip("this operation takes no input that can be invalid")


CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.specs.openapi.checks.response_schema_conformance,
    schemathesis.specs.openapi.checks.content_type_conformance,
    schemathesis.specs.openapi.checks.status_code_conformance,
]

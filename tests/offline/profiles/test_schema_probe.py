"""The probe finds a schema that is not enforced before any paid request."""

import json
from typing import Any

import pytest

from retort.offline.profiles.config import ProfilesConfig, open_backend
from retort.shared.base.errors import ProfileError
from retort.shared.base.settings import LanguageModelSettings
from tests.offline.profiles._server import Answer, FakeServer, completion, serving


def obeys(_number: int, body: dict[str, Any]) -> Answer:
    schema = body["response_format"]["json_schema"]["schema"]
    return completion(json.dumps({"answer": schema["properties"]["answer"]["enum"][0]}))


def open_json(fake: FakeServer, **config: Any) -> None:
    settings = LanguageModelSettings(_env_file=None, openai_base_url=fake.url)  # type: ignore[call-arg]
    options = {"model": "m", "retries": 0}
    open_backend(ProfilesConfig(backend="openai", family="json", options=options, **config), settings)


def test_a_server_that_enforces_the_schema_is_probed_once() -> None:
    with serving(obeys) as fake:
        open_json(fake)
        assert len(fake.bodies) == 1
        assert "canary" not in json.dumps(fake.bodies[0]["messages"])


@pytest.mark.parametrize(
    "text", ["In spring it rains.", '{"answer": "mild"}', '{"answer": "retort-schema-probe-7"} Enjoy!']
)
def test_a_server_that_ignores_the_schema_is_rejected(text: str) -> None:
    with serving(lambda *_: completion(text)) as fake, pytest.raises(ProfileError, match="the schema is not enforced"):
        open_json(fake)


def test_a_server_that_refuses_the_schema_says_why() -> None:
    refusal: Answer = (400, {"error": {"message": "response_format is not supported"}}, {})
    with serving(lambda *_: refusal) as fake, pytest.raises(ProfileError, match="response_format is not supported"):
        open_json(fake)


def test_a_server_that_is_down_is_not_blamed_for_the_schema() -> None:
    down: Answer = (500, {"error": {"message": "loading"}}, {})
    with serving(lambda *_: down) as fake, pytest.raises(ProfileError, match=r"did not answer .500: loading") as caught:
        open_json(fake)
    assert "schema" not in str(caught.value)


def test_the_probe_can_be_switched_off() -> None:
    with serving(obeys) as fake:
        open_json(fake, canary=False)
        assert fake.bodies == []

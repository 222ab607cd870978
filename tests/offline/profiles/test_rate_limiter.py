"""The rate limiter follows the server's headers, for all requests and within bounds."""

import time
from typing import Any

import pytest

from retort.offline.profiles.backends import openai
from retort.offline.profiles.backends._base import Sampling
from retort.offline.profiles.backends._rate_limiter import parse_duration_s
from retort.offline.profiles.prompt import PromptWriter
from retort.shared.base.settings import LanguageModelSettings
from tests.offline.profiles._fakes import events
from tests.offline.profiles._server import Answer, FakeServer, completion, serving


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1.0), ("6m0s", 360.0), ("20ms", 0.02), ("1h2m", 3720.0), ("7", 7.0), ("soon", None)]
)
def test_spans_are_read(text: str, seconds: float | None) -> None:
    assert parse_duration_s(text) == seconds


def ask(fake: FakeServer, n: int, **options: Any) -> None:
    settings = LanguageModelSettings(_env_file=None, openai_base_url=fake.url)  # type: ignore[call-arg]
    config = openai.Config(model="m", backoff_s=0.001, **options)
    backend = openai.open_backend(config, Sampling(0.0, 64, 0), settings)
    replies = backend.write([PromptWriter("long", "movies").write(events(at + 1)) for at in range(n)], lambda _: None)
    assert all(reply.error is None for reply in replies)


def test_no_request_is_sent_while_the_server_has_no_room() -> None:
    def script(number: int, _body: dict[str, Any]) -> Answer:
        status, body, _ = completion()
        empty = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "400ms"}
        return status, body, empty if number == 0 else {"x-ratelimit-remaining-tokens": "900"}

    with serving(script) as fake:
        ask(fake, 3, concurrency=1)
    assert fake.times_s[1] - fake.times_s[0] >= 0.38
    assert fake.times_s[2] - fake.times_s[1] < 0.3


def test_one_refusal_holds_all_requests_back() -> None:
    def script(number: int, _body: dict[str, Any]) -> Answer:
        return (429, {"error": {"message": "slow down"}}, {"retry-after": "0.5"}) if number == 0 else completion()

    with serving(script) as fake:
        ask(fake, 4, concurrency=1)
    assert all(later - fake.times_s[0] >= 0.48 for later in fake.times_s[1:])


def test_a_server_cannot_make_us_wait_for_ever() -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "24h"}
    with serving(lambda *_: (*completion()[:2], headers)) as fake:
        truncate_histories = time.monotonic()
        ask(fake, 2, concurrency=1, max_wait_s=0.2)
    assert time.monotonic() - truncate_histories < 5

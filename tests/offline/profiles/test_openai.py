"""The client of OpenAI-compatible servers against one that misbehaves."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from retort.offline.common.http_errors import retry_after_s
from retort.offline.profiles.backends import openai
from retort.offline.profiles.backends._base import Prompt, Reply, Sampling, sampling_seed
from retort.offline.profiles.backends._http import parse_completion
from retort.offline.profiles.checks import StructuredProfile
from retort.offline.profiles.prompt import PromptWriter
from retort.shared.base.errors import ProfileError
from retort.shared.base.settings import LanguageModelSettings
from tests.offline.common._hostile import Pieces, endless_body, hostile_server, trickled_body, trickled_headers
from tests.offline.profiles._fakes import GOOD, events
from tests.offline.profiles._server import Answer, FakeServer, completion, serving

Script = Callable[[int, dict[str, Any]], Answer]


def prompts(n: int) -> list[Prompt]:
    return [PromptWriter("long", "movies").write(events(at + 1)) for at in range(n)]


def opened(fake: FakeServer | SimpleNamespace, **options: Any) -> openai.OpenAiBackend:
    config = openai.Config(**{"model": "fake-model", "backoff_s": 0.001, "retries": 2, **options})
    settings = LanguageModelSettings(openai_base_url=fake.url, openai_api_key=SecretStr("secret-key"))
    return openai.open_backend(config, Sampling(0.5, 200, 7), settings)


def ask(fake: FakeServer | SimpleNamespace, n: int = 1, **options: Any) -> list[Reply]:
    return opened(fake, **options).write(prompts(n), lambda _: None)


def test_replies_come_in_order_each_handed_on_at_once() -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        n_events = body["messages"][1]["content"].count("film-")
        time.sleep(0.05 if n_events % 2 else 0.0)
        return completion(f"profile of {n_events}")

    on_replies: list[int] = []
    with serving(script) as fake:
        replies = opened(fake, concurrency=3).write(prompts(9), lambda some: on_replies.extend(at for at, _ in some))
    assert [reply.text for reply in replies] == [f"profile of {at + 1}" for at in range(9)]
    assert sorted(on_replies) == list(range(9))
    assert on_replies != list(range(9))
    assert fake.most_in_flight <= 3
    assert replies[0] == Reply("profile of 1", 11, 7)
    body = fake.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("fake-model", 0.5, 200)
    assert fake.headers[0]["authorization"] == "Bearer secret-key"


def test_retry_after_is_honoured() -> None:
    with serving(lambda n, _: (429, {"error": "slow"}, {"Retry-After": "0.4"}) if n == 0 else completion()) as fake:
        (reply,) = ask(fake)
    assert reply.text == GOOD
    assert fake.times_s[1] - fake.times_s[0] >= 0.4


def test_retry_after_may_be_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    wait_s = retry_after_s(httpx.Response(429, headers={"Retry-After": later}))
    assert wait_s is not None
    assert 25 < wait_s <= 30
    assert retry_after_s(httpx.Response(429, headers={"Retry-After": "soon"})) is None


@pytest.mark.parametrize(
    "bad",
    [
        (500, "oops", {}),
        (503, {"error": {"message": "loading"}}, {}),
        (200, '{"choices": [{"message": {"content": "The us', {}),
        (200, {"nothing": 1}, {}),
        (200, [], {}),
    ],
)
def test_passing_faults_are_retried(bad: Answer) -> None:
    with serving(lambda n, _: bad if n < 2 else completion()) as fake:
        (reply,) = ask(fake)
    assert (reply.text, reply.error, len(fake.bodies)) == (GOOD, None, 3)


def test_timeout_is_retried_and_then_reported() -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        time.sleep(0.3)
        return completion()

    with serving(script) as fake:
        (reply,) = ask(fake, timeout_s=0.1, retries=1)
    assert reply.error == "no answer within 0.1 s (after 2 attempts)"
    assert reply.final


@pytest.mark.parametrize("pieces", [trickled_headers, trickled_body])
def test_timeout_is_the_total_of_a_request(pieces: Callable[[], Pieces]) -> None:
    with hostile_server(pieces) as url:
        fake = SimpleNamespace(url=f"{url}/v1")
        started_s = time.monotonic()
        (reply,) = ask(fake, timeout_s=0.3, retries=0)
        with pytest.raises(ProfileError, match=r"models did not report .*no complete response within 0\.3 s"):
            opened(fake, model=None, timeout_s=0.3)
        with pytest.raises(ProfileError, match=r"tokenize did not count .*no complete response within 0\.3 s"):
            opened(fake, tokenizer="server", timeout_s=0.3).count_tokens(prompts(1)[0].messages)
    assert reply.error == "no answer within 0.3 s (after 1 attempts)"
    assert reply.unanswered
    assert time.monotonic() - started_s < 3


def test_a_response_without_end_is_refused() -> None:
    with hostile_server(endless_body) as url:
        fake = SimpleNamespace(url=f"{url}/v1")
        (reply,) = ask(fake, retries=0)
        with pytest.raises(ProfileError, match="larger than 32 MiB"):
            opened(fake, model=None)
    assert reply.error is not None
    assert "larger than 32 MiB" in reply.error


def test_faults_that_stay_are_reported_for_their_prompt_only() -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        return (500, "broken", {}) if body["messages"][1]["content"].count("film-") == 2 else completion()

    with serving(script) as fake:
        good, bad, last = ask(fake, 3)
    assert (good.error, last.error) == (None, None)
    assert bad.error == "500: broken (after 3 attempts)"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (completion(None, refusal="I will not."), "a refusal (I will not.)"),
        (completion("", "content_filter"), "a refusal (content filter)"),
        (completion("The user is", "length"), "cut off at max_output_tokens"),
        (
            (400, {"error": {"message": "context is too long"}}, {}),
            "the server rejected the prompt "
            "(400: context is too long; set [profiles.options] context_tokens to the model's context)",
        ),
    ],
)
def test_refusals_and_cut_answers_are_errors(answer: Answer, error: str) -> None:
    with serving(lambda n, _: answer) as fake:
        (reply,) = ask(fake)
    assert reply.error == error
    assert len(fake.bodies) == 1


@pytest.mark.parametrize(
    ("status", "said", "told"),
    [
        (401, "bad key", "OPENAI_API_KEY"),
        (404, "no model", "OPENAI_BASE_URL"),
        (429, "insufficient_quota", "no quota left"),
    ],
)
def test_hopeless_faults_stop_everything(status: int, said: str, told: str) -> None:
    with (
        serving(lambda n, _: (status, {"error": {"message": said}}, {})) as fake,
        pytest.raises(ProfileError) as raised,
    ):
        ask(fake, 5)
    assert told in str(raised.value)
    assert "secret-key" not in str(raised.value)


def test_an_unavailable_server_is_reported() -> None:
    with serving(lambda n, _: completion()) as fake:
        pass
    (reply,) = ask(fake, retries=0)
    assert reply.error is not None
    assert "cannot be reached" in reply.error


def test_only_model_is_taken_and_several_are_listed() -> None:
    with serving(lambda n, _: completion()) as fake:
        assert opened(fake, model=None).model == "fake-model"
        fake.models = ["a", "b"]
        with pytest.raises(ProfileError, match="offers 2 models"):
            opened(fake, model=None)


def test_schema_travels_and_a_second_attempt_has_another_seed() -> None:
    schema = StructuredProfile.model_json_schema()
    with serving(lambda n, _: completion()) as fake:
        opened(fake).write([Prompt(prompts(1)[0].messages, (), schema=schema, attempt=1)], lambda _: None)
    assert fake.bodies[0]["response_format"]["json_schema"]["schema"] == json.loads(json.dumps(schema))
    assert fake.bodies[0]["seed"] == sampling_seed(Sampling(0.5, 200, 7), Prompt(prompts(1)[0].messages, (), attempt=1))


def test_each_user_and_attempt_has_a_seed_that_every_run_repeats() -> None:
    def seeds() -> list[int]:
        with serving(lambda n, _: completion()) as fake:
            ask(fake, 5)
            opened(fake).write([replace(prompt, attempt=1) for prompt in prompts(5)], lambda _: None)
        return sorted(body["seed"] for body in fake.bodies)

    first = seeds()
    assert len(set(first)) == 10
    assert all(0 <= seed < 2**31 for seed in first)
    assert seeds() == first


def test_tokens_are_estimated_or_counted_by_the_server() -> None:
    (prompt,) = prompts(1)
    with serving(lambda n, _: completion()) as fake:
        letters = sum(len(one["content"]) for one in prompt.messages)
        assert letters / 4 < opened(fake).count_tokens(prompt.messages) < letters / 2
        assert opened(fake, tokenizer="server").count_tokens(prompt.messages) == 321


def test_error_while_keeping_a_reply_ends_the_call() -> None:
    def fail(_: Any) -> None:
        raise ProfileError("the disk is full")

    with serving(lambda n, _: completion()) as fake, pytest.raises(ProfileError, match="disk is full"):
        opened(fake).write(prompts(20), fail)


def test_a_reply_that_no_database_stores_is_cleaned() -> None:
    answers = [
        completion(f"{GOOD} \x00\ud800 End."),
        (400, {"error": {"message": "bad \ud800\x00 prompt"}}, {}),
        (200, "[" * 200_000, {}),
    ]
    with serving(lambda n, body: answers[body["messages"][1]["content"].count("film-") - 1]) as fake:
        good, refused, nested = ask(fake, 3, retries=0)
        fake.models = ["m\ud800"]
        assert opened(fake, model=None).model == "m\ufffd"
    assert good.text == f"{GOOD} \ufffd End."
    assert refused.error == "the server rejected the prompt (400: bad \ufffd prompt)"
    assert nested.error is not None
    assert "not a chat completion" in nested.error


def test_sampling_options_and_further_fields_travel() -> None:
    options = {"top_p": 0.8, "top_k": 20, "presence_penalty": 0.5, "frequency_penalty": 0.1, "repetition_penalty": 1.1}
    more = {"chat_template_kwargs": {"enable_thinking": False}, "seed": 1}
    with serving(lambda n, _: completion()) as fake:
        ask(fake, **options, extra_body=more, system_role="user")
        ask(fake)
        ask(fake, omit=["seed", "top_p"], top_p=0.5)
    assert not {"seed", "top_p"} & set(fake.bodies[2])
    body = fake.bodies[0]
    assert {name: body[name] for name in (*options, *more)} == {**options, **more}
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert not set(options) & set(fake.bodies[1])


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("This model's maximum context length is 4096 tokens", "context_tokens"),
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "limit_field"),
        ("System role not supported", "system_role"),
        ("Only user and assistant roles are supported!", "system_role"),
        ("Developer instruction is not enabled for models/gemma-3-27b-it", "system_role"),
        ("the request exceeds the available context size. try increasing the context size", "context_tokens"),
        ("The prompt is too long: 9000, model maximum is 8192", "context_tokens"),
        ("Extra inputs are not permitted", "omit"),
        ("Unsupported parameter: 'temperature' is not supported with this model.", "omit"),
        (
            "Unsupported value: 'temperature' does not support 0.2. Only the default (1) value is supported.",
            "[profiles]",
        ),
    ],
)
@pytest.mark.parametrize("status", [400, 500])
def test_a_rejection_of_every_prompt_names_the_option_that_cures_it(words: str, option: str, status: int) -> None:
    """llama.cpp answers 500 where the chat template refuses a prompt."""
    with serving(lambda n, _: (status, {"error": {"message": words}}, {})) as fake:
        (reply,) = ask(fake)
    assert not reply.unanswered
    assert reply.error is not None
    assert words in reply.error
    assert option in reply.error


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 90, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 64}}, (90, 7, 64)),
        ({"prompt_tokens": 90, "completion_tokens": 7, "prompt_cache_hit_tokens": 64}, (90, 7, 64)),
        ({"prompt_tokens": 90, "completion_tokens": 7, "prompt_tokens_details": None, "cached_tokens": 0}, (90, 7, 0)),
        ({"prompt_tokens": 90, "completion_tokens": 7, "cached_tokens": 200}, (90, 7, 90)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, (None, None, None)),
        ({"prompt_tokens": "90", "completion_tokens": -7, "prompt_tokens_details": [1]}, (None, None, None)),
        ("none", (None, None, None)),
        (None, (None, None, None)),
    ],
)
def test_cached_tokens_are_read_from_the_usage(usage: Any, counts: tuple[int | None, ...]) -> None:
    reply = parse_completion({"choices": [{"message": {"content": GOOD}}], "usage": usage}, "")
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == counts


@pytest.mark.parametrize(
    ("message", "finish", "text", "problem"),
    [
        ({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": GOOD}]}, "stop", GOOD, None),
        ({"content": GOOD}, "max_tokens", GOOD, "cut off"),
        ({"content": GOOD}, "MAX_TOKENS", GOOD, "cut off"),
        ({"content": GOOD}, "model_length", GOOD, "cut off"),
        ({"content": ""}, "SAFETY", "", "a refusal"),
        ({"content": None, "reasoning_content": "hm"}, "stop", "", "only thoughts"),
        ({"content": GOOD, "reasoning_content": "hm"}, "stop", GOOD, None),
    ],
)
def test_replies_of_other_servers_are_read(message: Any, finish: str, text: str, problem: str | None) -> None:
    reply = parse_completion({"choices": [{"message": message, "finish_reason": finish}]}, "")
    assert reply.text == text
    assert (reply.error or "").startswith(problem or "")
    assert (reply.error is None) == (problem is None)


def test_a_host_that_refuses_string_bounds_gets_the_schema_without_them() -> None:
    schema = {"type": "object", "properties": {"maxLength": {"type": "string", "maxLength": 9}}}
    refusal = (400, {"error": {"message": "Invalid schema: 'maxLength' is not permitted."}}, {})
    with serving(lambda _, body: refusal if '"maxLength": 9' in json.dumps(body) else completion()) as fake:
        replies = opened(fake).write([replace(prompts(1)[0], schema=schema)] * 2, lambda _: None)
    assert [reply.error for reply in replies] == [None, None]
    sent = fake.bodies[-1]["response_format"]["json_schema"]["schema"]
    assert sent == {"type": "object", "properties": {"maxLength": {"type": "string"}}}
    assert len(fake.bodies) <= 4

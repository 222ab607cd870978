"""SmolLM2 with its real weights behind llama.cpp's OpenAI-compatible server, through the openai backend.

The mechanics are tested, not the texts: a model of 135 million parameters writes no useful profile. The report says so.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retort.offline.common.progress import Silent
from retort.offline.profiles.backends._base import Message, Prompt, Reply
from retort.offline.profiles.checks import CheckRules, check_reply
from retort.offline.profiles.config import ProfilesConfig, open_backend
from retort.offline.profiles.generator import profiles_tables, write_profiles, write_profiles_table
from retort.offline.profiles.prompt import PromptWriter
from retort.offline.profiles.quality import measure_profiles
from retort.shared.base.settings import LanguageModelSettings
from tests.local_models.folders import local_model
from tests.local_models.serving import serving_smollm2
from tests.offline.profiles._fakes import catalogue, events, histories, sqlite_store

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def smollm2() -> Path:
    return local_model("smollm2")


@pytest.fixture(scope="module")
def settings(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageModelSettings]:
    """Settings that name the running server."""
    with serving_smollm2(tmp_path_factory.mktemp("llama") / "server.log") as url:
        yield LanguageModelSettings(_env_file=None, openai_base_url=url)  # type: ignore[call-arg]


def config(smollm2: Path, extra: dict[str, Any] | None = None, **keys: object) -> ProfilesConfig:
    options = {"tokenizer": str(smollm2), "context_tokens": 4096, "concurrency": 2, "retries": 0, **(extra or {})}
    given = {"backend": "openai", "max_output_tokens": 48, "seed": 3, "options": options, **keys}
    return ProfilesConfig(**given)  # type: ignore[arg-type]


def write(config: ProfilesConfig, settings: LanguageModelSettings, prompts: list[Prompt]) -> list[Reply]:
    backend = open_backend(config, settings)
    replies = backend.write(prompts, lambda _: None)
    assert [reply.prompt_tokens for reply in replies] == [backend.count_tokens(prompt.messages) for prompt in prompts]
    return replies


def test_tokens_are_counted_by_the_real_chat_template(smollm2: Path, settings: LanguageModelSettings) -> None:
    prompts = [PromptWriter("short", "movies").write(events(n)) for n in (1, 6)]
    replies = write(config(smollm2, family="short"), settings, prompts)
    assert all(0 < (reply.completion_tokens or 0) <= 48 for reply in replies)
    assert all(reply.error is None or "cut" in reply.error for reply in replies), [reply.error for reply in replies]
    assert all("<|im_" not in reply.text for reply in replies)


def test_the_same_seed_writes_the_same_text(smollm2: Path, settings: LanguageModelSettings) -> None:
    """A prompt that is read from the server's cache rounds otherwise, so the cache is off."""
    prompt = PromptWriter("short", "movies").write(events(3))
    uncached = config(smollm2, family="short", extra={"extra_body": {"cache_prompt": False}})
    (one,), (same,) = (write(uncached, settings, [prompt]) for _ in range(2))
    assert one.text == same.text


def test_the_schema_is_enforced(smollm2: Path, settings: LanguageModelSettings) -> None:
    """Opening the backend sends the probe; a reply that was not cut by the limit is the requested JSON."""
    writer = PromptWriter("json", "movies")
    (reply,) = write(config(smollm2, family="json", max_output_tokens=300), settings, [writer.write(events(3))])
    assert reply.text.lstrip().startswith("{")
    if reply.error is None:
        assert {"likes", "dislikes"} <= set(json.loads(reply.text))


def test_a_prompt_beyond_the_context_is_refused_and_its_remedy_named(
    smollm2: Path, settings: LanguageModelSettings
) -> None:
    prompt = PromptWriter("short", "movies").write(events(900))
    (reply,) = open_backend(config(smollm2, family="short"), settings).write([prompt], lambda _: None)
    assert reply.final
    assert "context_tokens" in str(reply.error)


@pytest.mark.parametrize(
    ("request_text", "problem"),
    [
        ("Write a long poem in which every line is: la la la la la la la la", "repeats itself"),
        ("Repeat this sentence word for word: I'm sorry, but I can't help with that.", "a refusal"),
    ],
)
def test_loops_and_refusals_are_recognised(
    request_text: str, problem: str, smollm2: Path, settings: LanguageModelSettings
) -> None:
    greedy = config(smollm2, family="short", max_output_tokens=240, temperature=0.0)
    (reply,) = write(greedy, settings, [Prompt((Message(role="user", content=request_text),), ())])
    _, found = check_reply(reply.text, CheckRules(min_chars=1), "", None)
    assert found == problem, reply.text


def test_the_report_says_that_the_profiles_are_useless(
    smollm2: Path, settings: LanguageModelSettings, tmp_path: Path
) -> None:
    few = config(smollm2, family="short", max_failed=1.0, attempts=1, trust={"min_grounding": 0.0})
    store, items, users = sqlite_store(tmp_path), catalogue(), histories(4)
    report = write_profiles(users, items, few, store, settings, Silent())
    assert report.written + report.failed == 4
    assert report.completion_tokens
    if report.written < 2:
        assert report.problems, "the reasons of the failures are counted"
        return
    write_profiles_table(tmp_path / "profiles.parquet", few, profiles_tables(users, items, few, store, report))
    quality = measure_profiles(tmp_path / "profiles.parquet")
    assert quality is not None
    assert quality.warning() is not None, quality.line()

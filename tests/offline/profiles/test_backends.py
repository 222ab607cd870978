"""Contract of all backends, and the template and vllm backends."""

import re
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from jinja2 import TemplateError

from retort.offline.common.plugins import load_plugin, plugin_names
from retort.offline.common.section import Section
from retort.offline.profiles.backends import template, vllm
from retort.offline.profiles.backends._base import Message, Prompt, Reply, Sampling, fold_system_message, sampling_seed
from retort.offline.profiles.checks import CheckRules, StructuredProfile, check_reply
from retort.offline.profiles.config import BACKENDS, ProfilesConfig, backend_name, open_backend
from retort.offline.profiles.history import Catalogue, Event, Facts, UserHistory
from retort.offline.profiles.prompt import PromptWriter, aspect_names
from retort.shared.base.errors import ProfileError, RecipeError
from retort.shared.base.settings import LanguageModelSettings
from tests.offline.profiles._fakes import NO_SERVER, catalogue, events

SAMPLING = Sampling(0.3, 64, 5)


@pytest.mark.parametrize("name", plugin_names(BACKENDS))
def test_backend_has_a_section_and_opens(name: str) -> None:
    plugin = load_plugin(BACKENDS, name)
    assert issubclass(plugin.Config, Section)
    assert callable(plugin.open_backend)


def test_auto_takes_a_server_where_one_is_named() -> None:
    served = LanguageModelSettings(_env_file=None, openai_base_url="http://127.0.0.1:1/v1")  # type: ignore[call-arg]
    assert backend_name(ProfilesConfig(), NO_SERVER) == "template"
    assert backend_name(ProfilesConfig(), served) == "openai"


def test_unknown_option_is_reported() -> None:
    with pytest.raises(RecipeError, match=r"\[profiles.options\] has no key 'modle'"):
        open_backend(ProfilesConfig(backend="template", options={"modle": "x"}), NO_SERVER)


def test_system_turn_is_folded_into_the_first_of_the_user() -> None:
    chat = [Message(role="system", content="Be kind."), Message(role="user", content="Hello.")]
    assert fold_system_message(chat) == [{"role": "user", "content": "Be kind.\n\nHello."}]
    assert fold_system_message(chat[1:]) == chat[1:]


# template


def told(history: UserHistory | list[Event], **config: Any) -> str:
    found = Catalogue(catalogue(40)).events(history, None)[0] if isinstance(history, UserHistory) else history
    backend = template.open_backend(template.Config(**config), SAMPLING, NO_SERVER)
    (reply,) = backend.write([PromptWriter("long", "movies").write(found)], lambda _: None)
    return reply.text


def test_template_counts_shares_drift_series_and_ratings() -> None:
    def film(at: int, genre: str, year: int, weight: float) -> Event:
        return Event(Facts(f"Night Train {at}", {"genres": [genre], "year": year, "country": "US > South"}), weight)

    history = [film(at, "Comedy", 1994, 5.0) for at in range(6)] + [film(at, "Horror", 2003, 1.0) for at in range(6, 9)]
    text = told(history)
    assert "Comedy (67%), Horror (33%)" in text
    assert "1990s (67%), 2000s (33%)" in text
    assert "Country: South (100%), US (100%)" in text
    assert "Lately more of Horror, 2000s" in text
    assert "Follows series: Night Train" in text
    assert "above this person's average: 1990s, Comedy" in text
    assert "below this person's average: 2000s, Horror" in text
    assert told(history) == text


@pytest.mark.parametrize(
    "history",
    [
        UserHistory("u", ["i1"]),
        UserHistory("u", ["i1", "i1", "i1", "i1"], [3.0, 3.0, 3.0, 3.0]),
        [Event(Facts("", {}))],
        [Event(Facts("A lamp", {"price": 3.5, "code": "x" * 90, "new": True, "tags": []}), None)],
    ],
)
def test_template_always_writes_an_acceptable_profile(history: UserHistory | list[Event]) -> None:
    text = told(history)
    assert check_reply(text, CheckRules(), "", None) == (text, None)


def test_template_says_that_it_is_no_language_model() -> None:
    assert "no language model was called" in template.MODEL


def test_template_answers_every_family() -> None:
    backend = template.open_backend(template.Config(), SAMPLING, NO_SERVER)
    for family in ("short", "json", "aspects"):
        for aspect in aspect_names(family, "movies"):  # type: ignore[arg-type]
            writer = PromptWriter(family, "movies", aspect)  # type: ignore[arg-type]
            (reply,) = backend.write([writer.write(events(8))], lambda _: None)
            assert (
                check_reply(
                    reply.text,
                    CheckRules(),
                    writer.instructions,
                    StructuredProfile.model_json_schema() if family == "json" else None,
                )[1]
                is None
            )


# vllm, with an engine that only looks like one


class FakeTokenizer:
    chat_template: str | None = "a template"
    knows_system = True

    def apply_chat_template(self, chat: list[Message], tokenize: bool, add_generation_prompt: bool) -> str:
        assert (tokenize, add_generation_prompt) == (False, True)
        if not self.knows_system and any(one["role"] == "system" for one in chat):
            raise TemplateError("System role not supported")
        return " ".join(f"<{one['role']}> {one['content']}" for one in chat)

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens  # the chat template has put them there already
        return [0] * len(text.split())


class FakeLlm:
    made: dict[str, Any]
    tokenizer = FakeTokenizer()

    def __init__(self, **arguments: Any) -> None:
        FakeLlm.made = arguments
        self.calls: list[tuple[list[Any], list[Any]]] = []
        self.ended = 0
        core = SimpleNamespace(shutdown=self._end)
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=777), engine_core=core)

    def _end(self) -> None:
        self.ended += 1

    def get_tokenizer(self) -> FakeTokenizer:
        return self.tokenizer

    def chat(self, messages: list[Any], sampling_params: list[Any], use_tqdm: bool) -> list[Any]:
        self.calls.append((messages, sampling_params))
        return [
            SimpleNamespace(
                prompt_token_ids=[1, 2, 3],
                outputs=[
                    SimpleNamespace(text=f"about {len(chat[-1]['content'])}", token_ids=[1, 2], finish_reason="stop")
                ],
            )
            for chat in messages
        ]


@pytest.fixture
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    package, sampling = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    package.LLM, package.SamplingParams = FakeLlm, SimpleNamespace  # type: ignore[attr-defined]
    sampling.StructuredOutputsParams = lambda json: ("constrained", json)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", package)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", sampling)
    monkeypatch.setattr(vllm, "find_spec", lambda _: object())
    monkeypatch.setattr(FakeTokenizer, "chat_template", "a template")
    monkeypatch.setattr(FakeTokenizer, "knows_system", True)


def opened_vllm(**options: Any) -> vllm.VllmBackend:
    return vllm.open_backend(vllm.Config(model="some/model", **options), SAMPLING, NO_SERVER)


def test_vllm_gets_whole_chats_in_batches(fake_vllm: None) -> None:
    backend = opened_vllm(batch_size=2, revision="abc")
    prompts = [PromptWriter("long", "movies").write(events(n + 1)) for n in range(5)]
    on_replies: list[list[int]] = []
    replies = backend.write(prompts, lambda some: on_replies.append([at for at, _ in some]))
    assert on_replies == [[4, 3], [2, 1], [0]], "the longest first, two at a time"
    assert replies == [Reply(f"about {len(one.messages[1]['content'])}", 3, 2) for one in prompts]
    chats, params = backend._llm.calls[0]
    assert [one["role"] for one in chats[0]] == ["system", "user"]
    assert vars(params[0]) == {
        "temperature": 0.3,
        "max_tokens": 64,
        "seed": sampling_seed(SAMPLING, prompts[4]),
        "structured_outputs": None,
    }
    assert (backend.model, backend.context_tokens) == ("some/model@abc", 777)
    assert FakeLlm.made["enable_prefix_caching"]
    assert FakeLlm.made["structured_outputs_config"]["disable_any_whitespace"]
    assert backend.count_tokens([Message(role="user", content="one two")]) == 3


def test_vllm_ends_its_engine_once(fake_vllm: None) -> None:
    backend = opened_vllm()
    engine = backend._llm
    backend.close()
    backend.close()
    assert engine.ended == 1, "its processes must not wait for a traceback that still holds the engine"


def test_vllm_is_constrained_by_the_schema(fake_vllm: None) -> None:
    backend = opened_vllm()
    prompt = PromptWriter("json", "movies").write(events(1))
    backend.write([Prompt(prompt.messages, prompt.events, schema=prompt.schema, attempt=2)], lambda _: None)
    params = backend._llm.calls[0][1][0]
    assert params.structured_outputs == ("constrained", StructuredProfile.model_json_schema())
    assert params.seed == sampling_seed(SAMPLING, replace(prompt, attempt=2))
    assert params.seed != sampling_seed(SAMPLING, prompt)


def test_vllm_folds_the_system_turn_for_models_without_one(fake_vllm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTokenizer, "knows_system", False)
    backend = opened_vllm()
    backend.write([PromptWriter("long", "movies").write(events(1))], lambda _: None)
    assert [one["role"] for one in backend._llm.calls[0][0][0]] == ["user"]


def test_vllm_refuses_a_model_without_a_chat_template(fake_vllm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTokenizer, "chat_template", None)
    with pytest.raises(ProfileError, match="instruction-tuned"):
        opened_vllm()


def test_vllm_that_is_not_installed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "find_spec", lambda _: None)
    with pytest.raises(ProfileError, match=r"retort-recsys\[vllm\]"):
        opened_vllm()


def test_template_counts_no_label_of_a_text_whose_column_is_no_attribute() -> None:
    text = "Main Setting: city. plot: a lighthouse"
    told_of = told([Event(Facts(f"Film {at}", {"genre": "Comedy"}, text)) for at in range(6)])
    found = re.search(r"return in what was chosen: ([^.]*)", told_of)
    assert found is not None
    assert set(found.group(1).split(", ")) == {"city", "lighthouse", "film"}


def test_template_does_not_count_the_names_of_columns_as_taste() -> None:
    history = [
        Event(
            Facts(
                f"Film {at}",
                {"genre": "Comedy", "mood": "warm"},
                "Genre: comedy. mood: warm. A lighthouse, the mood of its genre",
            )
        )
        for at in range(6)
    ]
    text = told(history)
    assert "lighthouse" in text
    found = re.search(r"return in what was chosen: ([^.]*)", text)
    assert found is not None
    assert not {"genre", "mood"} & set(found.group(1).split(", "))

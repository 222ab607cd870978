"""Template backend: a profile by rules from item metadata, without a language model; its model name says so."""

from collections.abc import Iterable, Sequence

from pydantic import Field

from retort.offline.common.section import Section
from retort.offline.profiles.backends._base import Message, OnReplies, Prompt, Reply, Sampling
from retort.offline.profiles.backends._given_facts import state_facts
from retort.offline.profiles.backends._history_statistics import Phrases, describe
from retort.offline.profiles.checks import StructuredProfile
from retort.shared.base.settings import LanguageModelSettings

MODEL = "template-rules-4 (no language model was called)"


def is_by_rule(model: str) -> bool:
    """Whether texts of this model name are written by rule: they restate what was given, and no model is called."""
    return model == MODEL


class Config(Section):
    """Options (`[profiles.options]`) of the template backend."""

    top: int = Field(5, ge=1, le=20, description="most values named for each attribute")


def open_backend(config: Config, sampling: Sampling, settings: LanguageModelSettings) -> "TemplateBackend":
    """Open the backend; it uses neither sampling nor settings: the same history always gives the same text."""
    return TemplateBackend(config)


class TemplateBackend:
    """Backend that reads the structured history of a prompt and never its messages."""

    def __init__(self, config: Config) -> None:
        self._config = config

    @property
    def model(self) -> str:
        """Model name, which states that no language model was called."""
        return MODEL

    @property
    def context_tokens(self) -> None:
        """None: a rule reads any length."""

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Count words; with an unlimited context nothing is cut."""
        return sum(len(message["content"].split()) for message in messages)

    def write(self, prompts: Sequence[Prompt], on_replies: OnReplies) -> list[Reply]:
        """Write one text for each prompt; merged and combined profiles are written from all their events."""
        replies = [Reply(self._text(prompt), 0, 0) for prompt in prompts]
        on_replies(list(enumerate(replies)))
        return replies

    def close(self) -> None:
        """Do nothing."""

    def _text(self, prompt: Prompt) -> str:
        if prompt.task == "describe":
            return state_facts(prompt)
        phrases = describe(prompt.events, self._config.top)
        if prompt.schema is not None:
            return _structured(phrases).model_dump_json()
        return _prose(phrases, prompt.aspect)


def _structured(phrases: Phrases) -> StructuredProfile:
    return StructuredProfile(
        likes=phrases.likes,
        dislikes=phrases.dislikes,
        habits=phrases.habits,
        recent=phrases.recent,
        summary=phrases.summary,
    )


# Phrases of each aspect; an aspect not named here gets all of them.
_ASPECTS: dict[str, Iterable[str]] = {
    "tastes": ("likes", "liked", "dislikes"),
    "genres": ("likes", "liked", "dislikes"),
    "themes": ("words", "liked", "recent"),
    "periods": ("numbers", "habits", "recent"),
    "needs": ("likes", "words", "recent"),
    "patterns": ("likes", "habits", "recent", "numbers"),
    "brands": ("likes", "liked", "dislikes"),
    "habits": ("habits", "recent"),
}
_EVERYTHING = ("likes", "words", "numbers", "liked", "dislikes", "habits", "recent")


def _prose(phrases: Phrases, aspect: str) -> str:
    chosen = _ASPECTS.get(aspect, _EVERYTHING)
    paragraphs = [_sentences(getattr(phrases, name)) for name in chosen]
    return "\n".join([phrases.summary, *(paragraph for paragraph in paragraphs if paragraph)])


def _sentences(phrases: list[str]) -> str:
    return " ".join(f"{phrase[:1].upper()}{phrase[1:]}." for phrase in phrases)

"""What every language model behind a profile does: prompts in, texts out, in the same order.

A backend is a file here with `Config` (a `Section`, the recipe's `[profiles.options]`) and
`open_backend(config, sampling, settings) -> ProfileBackend`. It knows no users, no files and no database. One
whose model answers from elsewhere says `SERVED = True`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict

from retort.offline.profiles.history import Event
from retort.shared.base.errors import ProfileError


class Message(TypedDict):
    """One turn of a chat."""

    role: str
    content: str


@dataclass(frozen=True)
class Prompt:
    """One question, twice: as chat messages, and as the structured history they were made from.

    task: what is asked; parts: profiles to be updated, merged or combined, oldest first; attempt: 0 for the first time.
    schema: a JSON schema that the answer must obey, None for plain text.
    """

    messages: tuple[Message, ...]
    events: tuple[Event, ...]
    task: Literal["write", "update", "merge", "combine"] = "write"
    aspect: str = ""
    parts: tuple[str, ...] = ()
    schema: dict[str, Any] | None = field(default=None, hash=False)
    attempt: int = 0


@dataclass(frozen=True)
class Reply:
    """A model's answer; `error` says in one clause why there is no usable text, `final` that asking again is no use.

    unanswered: the server is at fault, not the prompt; nothing was learned about it, and later it may be answered.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None
    final: bool = False
    unanswered: bool = False


# The error of a reply that has not been written yet: its conversation is neither done nor failed.
WAITING = "waiting for the batch's results"


@dataclass(frozen=True)
class Sampling:
    """How the model is asked; written beside every text."""

    temperature: float
    max_output_tokens: int
    seed: int


# Called with (place in the prompts, reply) of all that are ready, as soon as they are.
OnReplies = Callable[[Sequence[tuple[int, Reply]]], None]


class ServedModelError(ProfileError):
    """What is wrong with a model that is served elsewhere: it is wrong for every worker alike."""


class ProfileBackend(Protocol):
    """The contract. `context_tokens` is None where length does not matter."""

    @property
    def model(self) -> str:
        """The name that is stored beside each text."""

    @property
    def context_tokens(self) -> int | None:
        """Prompt and answer together may not be longer."""

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Length of the chat as the model will read it, its own template included."""

    def write(self, prompts: Sequence[Prompt], on_replies: OnReplies) -> list[Reply]:
        """Answer all prompts, in their order. Raises ProfileError where asking on is pointless."""

    def close(self) -> None:
        """Give back what the model holds."""


def fold_system_message(messages: Sequence[Message]) -> list[Message]:
    """The same chat for models that know no system role (Gemma): its text opens the first turn of the user."""
    system = "\n".join(one["content"] for one in messages if one["role"] == "system")
    rest = [one for one in messages if one["role"] != "system"]
    if not system or not rest:
        return list(rest)
    return [Message(role=rest[0]["role"], content=f"{system}\n\n{rest[0]['content']}"), *rest[1:]]

"""Backend contract: a language model that turns prompts into texts, in the same order.

A backend is a module in this folder with `Config` (a `Section`: the recipe's `[profiles.options]`) and
`open_backend(config, sampling, settings) -> ProfileBackend`. It knows no users, files or database. A backend whose
model runs behind a server sets `SERVED = True`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict

from retort.offline.profiles.history import Event
from retort.shared.base.errors import ProfileError
from retort.shared.base.hashing import hash_json
from retort.shared.base.text import clean_text


class Message(TypedDict):
    """One message of a chat."""

    role: str
    content: str


@dataclass(frozen=True)
class Prompt:
    """A prompt in two forms: chat messages, and the structured history that they were made from.

    Attributes:
        task: Kind of the prompt; "describe" asks about items, one event each, and the others about a user.
        parts: Profiles to update, merge or combine, oldest first; for "describe" the ids of the items.
        schema: JSON schema of the reply; None: plain text.
        attempt: 0 for the first time; higher after rejected replies.
    """

    messages: tuple[Message, ...]
    events: tuple[Event, ...]
    task: Literal["write", "update", "merge", "combine", "describe"] = "write"
    aspect: str = ""
    parts: tuple[str, ...] = ()
    schema: dict[str, Any] | None = field(default=None, hash=False)
    attempt: int = 0


@dataclass(frozen=True)
class Reply:
    """A model's reply.

    Attributes:
        prompt_tokens: None: not stated; they are then counted by `count_tokens`, and so are `completion_tokens`.
        error: Why there is no usable text, in one clause; None: there is one.
        final: Another attempt is useless.
        unanswered: The server failed, not the prompt; a later request may succeed.
        cached_tokens: Those of `prompt_tokens` that the server read from its cache; None: not stated.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None
    final: bool = False
    unanswered: bool = False
    cached_tokens: int | None = None

    def __post_init__(self) -> None:
        # a model can write anything, and what cannot be stored must not end the run
        object.__setattr__(self, "text", clean_text(self.text))
        object.__setattr__(self, "error", None if self.error is None else clean_text(self.error))


# Error of a reply that is not available yet: its conversation is neither finished nor failed.
WAITING = "waiting for the batch's results"


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters of the model; stored with every text."""

    temperature: float
    max_output_tokens: int
    seed: int


def sampling_seed(sampling: Sampling, prompt: Prompt) -> int:
    """Return the seed of one request: another for each prompt and attempt, the same in every run.

    With one seed for all, a server draws the same random numbers for each user, and the texts begin alike.
    """
    digest = hash_json([sampling.seed, list(prompt.messages), prompt.attempt])
    return int(digest[:8], 16) & 0x7FFFFFFF  # servers accept 32 bits with a sign


# Called with (position in the prompts, reply) of replies as soon as they are available.
OnReplies = Callable[[Sequence[tuple[int, Reply]]], None]


class ServedModelError(ProfileError):
    """A model behind a server cannot be used; every worker would fail alike."""


class ProfileBackend(Protocol):
    """Protocol of a backend."""

    @property
    def model(self) -> str:
        """Name that is stored with each text."""

    @property
    def context_tokens(self) -> int | None:
        """Limit of prompt and reply together, in tokens; None: unlimited."""

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of a chat in tokens, the chat template included."""

    def write(self, prompts: Sequence[Prompt], on_replies: OnReplies) -> list[Reply]:
        """Answer all prompts, in their order.

        Raises:
            ProfileError: Further requests are useless.
        """

    def close(self) -> None:
        """Release the resources of the model."""


def fold_system_message(messages: Sequence[Message]) -> list[Message]:
    """Move the system message into the first user message, for models without a system role (Gemma)."""
    system = "\n".join(message["content"] for message in messages if message["role"] == "system")
    rest = [message for message in messages if message["role"] != "system"]
    if not system or not rest:
        return list(rest)
    return [Message(role=rest[0]["role"], content=f"{system}\n\n{rest[0]['content']}"), *rest[1:]]

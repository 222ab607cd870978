"""Token counters: the length of a chat for a model that runs elsewhere."""

from collections.abc import Callable, Sequence
from typing import Any

from retort.offline.profiles.backends._base import Message, fold_system_message
from retort.shared.base.errors import ProfileError

TokenCounter = Callable[[Sequence[Message]], int]

_BYTES_PER_TOKEN = 3  # English has 4 or more; JSON, names and other scripts have fewer
_TOKENS_PER_MESSAGE = 8  # tokens that chat templates add around a message


def estimate_tokens(messages: Sequence[Message]) -> int:
    """Estimate the tokens of a chat, rather too high: halving a prompt needlessly costs less than a rejected one."""
    return sum(len(message["content"].encode()) // _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE for message in messages)


def load_token_counter(name: str) -> TokenCounter:
    """Load a tokenizer with its chat template, from the hub or a folder.

    Raises:
        ProfileError: The tokenizer cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ProfileError(
            f"the tokenizer {name!r} cannot be loaded ({str(error).splitlines()[0]}); "
            "give [profiles.options] tokenizer a hub name or a folder with a tokenizer."
        ) from None
    return chat_template_counter(tokenizer)


def chat_template_counter(tokenizer: Any) -> TokenCounter:
    """Return a counter through `apply_chat_template`; the system message is folded in where the template knows none."""
    folds = not accepts_system(tokenizer)

    def count(messages: Sequence[Message]) -> int:
        chat = fold_system_message(messages) if folds else list(messages)
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return len(tokenizer.encode(text, add_special_tokens=False))

    return count


def accepts_system(tokenizer: Any) -> bool:
    """Whether the chat template accepts a system message.

    Raises:
        ProfileError: The tokenizer has no chat template.
    """
    from jinja2 import TemplateError

    if not getattr(tokenizer, "chat_template", None):
        raise ProfileError(
            "the model's tokenizer has no chat template: profiles require an instruction-tuned model; name one in "
            "[profiles.options]."
        )
    chat = [Message(role="system", content="a"), Message(role="user", content="b")]
    try:
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    except TemplateError:
        return False
    return True

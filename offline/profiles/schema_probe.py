"""Proof, before thousands of prompts, that a schema really constrains the answer.

Servers ignore fields that they do not know and answer 200: vLLM from 0.12 on does so with the old `guided_*` options.
"""

import json

from retort.offline.profiles.backends._base import Message, ProfileBackend, Prompt, Reply
from retort.shared.base.errors import ProfileError

_WORD = "retort-canary-7"
_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": [_WORD]}},
    "required": ["answer"],
    "additionalProperties": False,
}
# Nothing in the question hints at the form: who answers in it was made to.
_QUESTION = "Describe the weather in spring in one sentence."


def probe_schema(backend: ProfileBackend) -> None:
    """Ask one question whose schema allows a single answer. Raises ProfileError where another one comes."""
    prompt = Prompt((Message(role="user", content=_QUESTION),), (), schema=_SCHEMA)
    (reply,) = backend.write([prompt], lambda _: None)
    if not _is_bound(reply):
        said = reply.error or repr(reply.text[:120])
        raise ProfileError(
            f"{backend.model} was given a JSON schema with a single possible answer and gave {said}: the schema does "
            "not bind. Use a server with structured outputs (response_format json_schema; vLLM 0.12 or later, a recent "
            "llama.cpp or Ollama), or [profiles] family = 'short'."
        )


def _is_bound(reply: Reply) -> bool:
    if reply.error is not None:
        return False
    try:
        return bool(json.loads(reply.text) == {"answer": _WORD})
    except ValueError:
        return False

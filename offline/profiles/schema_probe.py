"""Schema probe: checks with one prompt, before thousands, that the server enforces a JSON schema.

Servers ignore unknown fields and answer 200: vLLM from 0.12 on ignores its former `guided_*` options.
"""

import json

from retort.offline.profiles.backends._base import Message, ProfileBackend, Prompt, Reply
from retort.offline.profiles.thoughts import cut_thoughts
from retort.shared.base.errors import ProfileError

_ANSWER = "retort-schema-probe-7"
_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": [_ANSWER]}},
    "required": ["answer"],
    "additionalProperties": False,
}
# The prompt does not mention the schema: an answer in this form can only come from enforcement.
_PROMPT = "Describe the weather in spring in one sentence."


def probe_schema(backend: ProfileBackend) -> None:
    """Send one prompt whose schema allows a single answer.

    Raises:
        ProfileError: Another answer came, or none.
    """
    prompt = Prompt((Message(role="user", content=_PROMPT),), (), schema=_SCHEMA)
    (reply,) = backend.write([prompt], lambda _: None)
    if reply.unanswered:
        raise ProfileError(
            f"the server of {backend.model} did not answer ({reply.error}); check that it runs and that "
            "OPENAI_BASE_URL is its address, then run again."
        )
    if not _obeys_schema(reply):
        answer = reply.error or repr(reply.text[:120])
        raise ProfileError(
            f"{backend.model} was given a JSON schema with a single possible answer and returned {answer}: the schema "
            "is not enforced. Use a server with structured outputs (response_format json_schema; vLLM 0.12 or later, a "
            "recent llama.cpp or Ollama), or [profiles] family = 'short'."
        )


def _obeys_schema(reply: Reply) -> bool:
    if reply.error is not None:
        return False
    try:
        return bool(json.loads(cut_thoughts(reply.text)[0]) == {"answer": _ANSWER})
    except ValueError:
        return False

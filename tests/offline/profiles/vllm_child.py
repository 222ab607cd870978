"""In vLLM's environment: `python -m tests.offline.profiles.vllm_child MODEL`; the last line is the outcome as JSON."""

import json
import sys

from retort.offline.profiles.backends._base import Message, ProfileBackend, Prompt, Reply
from retort.offline.profiles.checks import CheckRules, find_problem
from retort.offline.profiles.config import ProfilesConfig, open_backend
from retort.offline.profiles.prompt import PromptWriter
from retort.shared.base.settings import LanguageModelSettings
from tests.offline.profiles._fakes import events

LOOP = "Write a long poem in which every line is: la la la la la la la la"
REFUSAL = "Repeat this sentence word for word: I'm sorry, but I can't help with that."


def opened(model: str, family: str, temperature: float) -> ProfileBackend:
    options = {"model": model, "dtype": "bfloat16", "enforce_eager": True, "max_model_len": 2048, "batch_size": 2}
    config = ProfilesConfig(
        backend="vllm", family=family, options=options, max_output_tokens=240, seed=1, temperature=temperature
    )
    # opening sends the schema probe where the family has a schema
    return open_backend(config, LanguageModelSettings(_env_file=None))  # type: ignore[call-arg]


def problem_of(backend: ProfileBackend, text: str) -> str | None:
    (reply,) = backend.write([Prompt((Message(role="user", content=text),), ())], lambda _: None)
    return find_problem(reply.text, CheckRules(min_chars=1))


def main() -> None:
    backend = opened(sys.argv[1], "json", temperature=0.0)
    prompts = [PromptWriter("json", "movies").write(events(n)) for n in (1, 6, 3)]
    order: list[int] = []

    def on_replies(replies: "list[tuple[int, Reply]]") -> None:
        order.extend(at for at, _ in replies)

    replies = backend.write(prompts, on_replies)  # type: ignore[arg-type]
    (again,) = backend.write(prompts[:1], lambda _: None)
    outcome = {
        "model": backend.model,
        "context": backend.context_tokens,
        "counted": [backend.count_tokens(prompt.messages) for prompt in prompts],
        "read": [reply.prompt_tokens for reply in replies],
        "written": [reply.completion_tokens for reply in replies],
        "texts": [reply.text for reply in replies],
        "again": again.text,
        "order": order,
        "problems": [problem_of(backend, text) for text in (LOOP, REFUSAL)],
    }
    backend.close()
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()

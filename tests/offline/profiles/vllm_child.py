"""In vLLM's environment: `python -m tests.offline.profiles.vllm_child MODEL`; the last line says what came out."""

import json
import sys

from retort.offline.profiles.backends._base import Reply
from retort.offline.profiles.config import ProfilesConfig, open_backend
from retort.offline.profiles.prompt import PromptWriter
from retort.shared.base.settings import LanguageModelSettings
from tests.offline.profiles._fakes import events


def main() -> None:
    options = {"model": sys.argv[1], "dtype": "float32", "enforce_eager": True, "max_model_len": 2048, "batch_size": 2}
    config = ProfilesConfig(backend="vllm", family="json", options=options, max_output_tokens=64, seed=1)
    # opening runs the canary: the schema has bound, or this ends here
    backend = open_backend(config, LanguageModelSettings(_env_file=None))  # type: ignore[call-arg]
    prompts = [PromptWriter("short", "movies").write(events(n)) for n in (1, 6, 3)]
    order: list[int] = []

    def on_replies(replies: "list[tuple[int, Reply]]") -> None:
        order.extend(at for at, _ in replies)

    replies = backend.write(prompts, on_replies)  # type: ignore[arg-type]
    said = {
        "model": backend.model,
        "context": backend.context_tokens,
        "counted": [backend.count_tokens(prompt.messages) for prompt in prompts],
        "read": [reply.prompt_tokens for reply in replies],
        "written": [reply.completion_tokens for reply in replies],
        "order": order,
    }
    backend.close()
    print(json.dumps(said))


if __name__ == "__main__":
    main()

"""A language model in this process, through vLLM's offline batch API (0.12 and later).

API: https://docs.vllm.ai/en/latest/models/generative_models/ and .../features/structured_outputs/
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import Field

from offline.config import Section
from offline.profiles.backends._base import Arrived, Message, Prompt, Reply, Sampling, without_system
from offline.profiles.backends._tokens import accepts_system, template_counter
from shared.errors import ProfileError
from shared.settings import LanguageModelSettings


class Config(Section):
    """`[profiles.options]` of the vllm backend."""

    model: str = Field(description="hub name or folder of an instruction-tuned model")
    revision: str | None = None
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    quantization: str | None = None
    tensor_parallel_size: int = Field(1, ge=1, description="GPUs that share the model")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    max_model_len: int | None = Field(None, ge=64, description="prompt and answer together; unset: the model's own")
    batch_size: int = Field(256, ge=1, description="prompts handed over at once; what a killed run may lose")
    enforce_eager: bool = False


def open_backend(config: Config, sampling: Sampling, settings: LanguageModelSettings) -> "VllmBackend":
    """Loads the model; needs no settings, for nothing leaves the process."""
    if find_spec("vllm") is None:
        raise ProfileError(
            "the vllm backend needs vLLM: `pip install 'retort[vllm]'` in an environment of its own, "
            "or choose [profiles] backend = 'openai' with a server."
        )
    import vllm

    llm = vllm.LLM(
        model=config.model,
        revision=config.revision,
        dtype=config.dtype,
        quantization=config.quantization,
        tensor_parallel_size=config.tensor_parallel_size,
        gpu_memory_utilization=config.gpu_memory_utilization,
        max_model_len=config.max_model_len,
        enforce_eager=config.enforce_eager,
        enable_prefix_caching=True,
        seed=sampling.seed,
    )
    return VllmBackend(llm, config, sampling)


class VllmBackend:
    """Hands whole batches to the engine, which schedules them itself."""

    def __init__(self, llm: Any, config: Config, sampling: Sampling) -> None:
        self._llm, self._config, self._sampling = llm, config, sampling
        tokenizer = llm.get_tokenizer()
        self._folds_system = not accepts_system(tokenizer)
        self._count = template_counter(tokenizer)

    @property
    def model(self) -> str:
        """Hub name or folder, with the revision where one is set."""
        return self._config.model + (f"@{self._config.revision}" if self._config.revision else "")

    @property
    def context_tokens(self) -> int:
        """What the engine was opened with."""
        return int(self._llm.llm_engine.model_config.max_model_len)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Exact: the model's own tokenizer and chat template."""
        return self._count(messages)

    def write(self, prompts: Sequence[Prompt], arrived: Arrived) -> list[Reply]:
        """Batch by batch; the replies of one are handed on together."""
        replies: list[Reply] = []
        for start in range(0, len(prompts), self._config.batch_size):
            batch = prompts[start : start + self._config.batch_size]
            answers = self._chat(batch)
            arrived(list(enumerate(answers, start=start)))
            replies.extend(answers)
        return replies

    def close(self) -> None:
        """Lets go of the engine, so that its memory can be used by the next step."""
        self._llm = None

    def _chat(self, batch: Sequence[Prompt]) -> list[Reply]:
        chats = [self._messages(prompt) for prompt in batch]
        outputs = self._llm.chat(chats, sampling_params=[self._params(prompt) for prompt in batch], use_tqdm=False)
        if len(outputs) != len(batch):
            raise ProfileError(f"vLLM answered {len(outputs)} of {len(batch)} prompts; see its log above.")
        return [_reply(output) for output in outputs]

    def _messages(self, prompt: Prompt) -> list[Message]:
        return without_system(prompt.messages) if self._folds_system else list(prompt.messages)

    def _params(self, prompt: Prompt) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        structured = None if prompt.schema is None else StructuredOutputsParams(json=prompt.schema)
        return SamplingParams(
            temperature=self._sampling.temperature,
            max_tokens=self._sampling.max_output_tokens,
            seed=self._sampling.seed + prompt.attempt,
            structured_outputs=structured,
        )


def _reply(output: Any) -> Reply:
    answer = output.outputs[0]
    cut = "cut off at max_output_tokens" if answer.finish_reason == "length" else None
    return Reply(answer.text, len(output.prompt_token_ids), len(answer.token_ids), cut)

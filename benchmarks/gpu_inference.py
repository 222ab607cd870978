"""The parts of `benchmarks.gpu` that only read models: ONNX Runtime's providers and vLLM."""

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch

from retort.offline.export.onnx import export_student, item_vectors
from retort.offline.students import sasrec
from retort.shared.model.scoring import Scorer


def onnx(device: str, args: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of an answer by ONNX Runtime's providers, and whether they return the same items."""
    import onnxruntime as ort

    n_items = 20_000 if args.small else 1_000_000
    torch.manual_seed(0)
    student = sasrec.Model(sasrec.Config(embedding_dim=64, max_length=50, dropout=0.0), n_items).eval()
    graph, table = export_student(student), item_vectors(student)
    random = np.random.default_rng(0)
    histories = [random.integers(1, n_items + 1, 50) for _ in range(32)]
    available = ort.get_available_providers()
    found: dict[str, Any] = {"providers": available, "items": n_items}
    answers = {}
    for provider in [name for name in available if name in ("CUDAExecutionProvider", "CPUExecutionProvider")]:
        ort.get_available_providers = lambda provider=provider: [provider]
        scorer = Scorer(graph, n_items=n_items, max_length=50, table=table)
        ort.get_available_providers = lambda: available
        single, batch = [], []
        for history in histories:
            started = time.perf_counter()
            scorer.top_k([history], 10)
            single.append(time.perf_counter() - started)
        for _ in range(5):
            started = time.perf_counter()
            answers[provider] = scorer.top_k(histories, 10).items_BK
            batch.append((time.perf_counter() - started) / len(histories))
        found[provider] = {
            "answer_ms": round(1000 * statistics.median(single), 3),
            "in_a_batch_of_32_ms": round(1000 * min(batch), 3),
        }
    if len(answers) == 2:
        one, other = answers.values()
        found["equal_items"] = float((one == other).mean())
    return found


def vllm(_: str, args: argparse.Namespace) -> dict[str, Any]:
    """Profiles a second from a model folder."""
    if args.model is None:
        return {"skipped": "no --model FOLDER was given"}
    from retort.offline.profiles.backends import vllm as backend
    from retort.offline.profiles.backends._base import Message, Prompt, Sampling
    from retort.shared.base.settings import LanguageModelSettings

    texts = [
        f"A person watched the films {n}, {n + 1} and {n + 2}. Describe the taste in two sentences." for n in range(256)
    ]
    prompts = [Prompt((Message(role="user", content=text),), ()) for text in texts]
    opened = backend.open_backend(
        backend.Config(model=str(args.model), max_model_len=512), Sampling(0.7, 64, 0), LanguageModelSettings()
    )
    started = time.perf_counter()
    replies = opened.write(prompts, lambda _: None)
    seconds = time.perf_counter() - started
    opened.close()
    good = [reply for reply in replies if not reply.error]
    tokens = sum(reply.completion_tokens or 0 for reply in good)
    return {"profiles": len(good), "profiles_per_s": len(good) / seconds, "output_tokens_per_s": tokens / seconds}

"""vLLM on the CPU, from the environment that `make venv-vllm` makes: its settings, and SmolLM2 behind its server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retort.offline.local.local_redis import free_port
from retort.offline.local.subprocesses import start_child
from tests.local_models.health import wait_until_healthy

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
# One thread and a small cache: the machine is shared. No usage report: a test leaves no traces elsewhere.
ENV = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
START_S = 600.0


@contextmanager
def serving_vllm(model: Path, log: Path, context_tokens: int = 2048) -> Iterator[str]:
    """Serve a model by the name `smollm2` until the end of the block; the value is the URL."""
    port = free_port()
    # what `vllm serve` runs; that command itself asks for a distribution named vllm, and the CPU's is vllm-cpu
    args = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--dtype", "bfloat16"]
    args += ["--host", "127.0.0.1", "--port", str(port)]
    args += ["--max-model-len", str(context_tokens), "--enforce-eager", "--served-model-name", "smollm2"]
    # a weak model fills its answer with the white space that JSON allows
    args += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
    with start_child(args, "vllm serve", log=log, env=ENV, grace_s=20.0) as child:
        yield wait_until_healthy(child, port, START_S, poll_s=1.0)

"""SmolLM2 behind llama.cpp's server, for tests of backends that talk to a server."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retort.offline.local.local_redis import free_port
from retort.offline.local.subprocesses import start_child
from tests.local_models.folders import local_model
from tests.local_models.gguf_models import SMOLLM2_GGUF
from tests.local_models.health import wait_until_healthy

START_S = 120.0


@contextmanager
def serving_smollm2(log: Path) -> Iterator[str]:
    """Serve SmolLM2 until the end of the block; the value is the URL. Skips the test where something is missing."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("there is no xllamacpp; `make local-models` installs it")
    port, file = free_port(), local_model("smollm2") / SMOLLM2_GGUF
    args = [sys.executable, "-m", "tests.local_models.llama_server", str(file), str(port)]
    with start_child(args, "llama.cpp", log=log) as child:
        yield wait_until_healthy(child, port, START_S, poll_s=0.2)

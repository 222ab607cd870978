"""vLLM on the CPU with SmolLM2's real weights and chat template: in a process of its environment, and as a server.

`make venv-vllm` makes the environment and `make local-models` the model; a GPU build of vLLM passes the same tests.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from retort.offline.profiles.config import ProfilesConfig, open_backend
from retort.offline.profiles.prompt import PromptWriter
from retort.shared.base.settings import LanguageModelSettings
from tests.local_models.folders import local_model
from tests.local_models.vllm_server import ENV, PYTHON, ROOT, START_S, serving_vllm
from tests.offline.profiles._fakes import events

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not PYTHON.exists(), reason="there is no .venv-vllm; `make venv-vllm` makes it"),
]


@pytest.fixture(scope="module")
def smollm2() -> Path:
    return local_model("smollm2")


def run(args: list[str]) -> str:
    process = subprocess.Popen(
        [str(PYTHON), *args],
        cwd=ROOT,
        env={**os.environ, **ENV},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, complained = process.communicate(timeout=START_S)
    finally:
        # the engine and its workers are processes of their own, and outlive a parent that was killed
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"{said[-2000:]}\n{complained[-6000:]}"
    return said


def test_in_process_it_generates_counts_and_obeys_the_schema(smollm2: Path) -> None:
    output = json.loads(run(["-m", "tests.offline.profiles.vllm_child", str(smollm2)]).strip().splitlines()[-1])
    assert output["model"] == str(smollm2)
    assert output["context"] == 2048
    assert output["read"] == output["counted"], "our count of tokens, by the real chat template, is the engine's"
    assert all(0 < written <= 240 for written in output["written"])
    assert output["order"] == [1, 2, 0], "the longest first"
    assert all(text.startswith("{") for text in output["texts"])
    assert output["again"] == output["texts"][0], "the same seed writes the same text"
    assert output["problems"] == ["repeats itself", "a refusal"]


@pytest.fixture(scope="module")
def server(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_vllm(smollm2, tmp_path_factory.mktemp("vllm-serve") / "serve.log") as url:
        yield url


def test_behind_a_server_it_generates_counts_and_obeys_the_schema(server: str) -> None:
    settings = LanguageModelSettings(_env_file=None, openai_base_url=server)  # type: ignore[call-arg]
    options = {"tokenizer": "server", "context_tokens": 2048}
    config = ProfilesConfig(backend="openai", family="json", options=options, max_output_tokens=64)
    backend = open_backend(config, settings)  # sends the schema probe
    assert backend.model == "smollm2"
    prompts = [PromptWriter("short", "movies").write(events(n)) for n in (1, 3)]
    replies = backend.write(prompts, lambda _: None)
    assert [reply.prompt_tokens for reply in replies] == [backend.count_tokens(one.messages) for one in prompts]
    assert all(reply.completion_tokens for reply in replies)

"""`retort items describe` through vLLM's server with SmolLM2's real weights and schema, over a hundred items.

A 135M model writes no useful text. Asserted is that each item ends with a text or a counted reason, by several numbers
of items a request, and that the report shows how little the texts tell apart.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retort.offline.cli.main import app
from retort.offline.common.progress import Silent
from retort.offline.knowledge.describe import describe_items
from retort.offline.knowledge.store import ItemRecord, KnowledgeStore
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from tests.local_models.folders import local_model
from tests.local_models.vllm_server import PYTHON, serving_vllm
from tests.offline.knowledge._fakes import SHOP_RECIPE, config, shop, write_shop

N_ITEMS, N_FEW, CONTEXT = 100, 40, 4096

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not PYTHON.exists(), reason="there is no .venv-vllm; `make venv-vllm` makes it"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_vllm(local_model("smollm2"), tmp_path_factory.mktemp("vllm-serve") / "serve.log", CONTEXT) as url:
        yield url


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write_shop(folder, shop(N_ITEMS).frame.select("item_id", "title", "brand"))
    recipe = f"""{SHOP_RECIPE}attempts = 1
max_failed = 1.0
max_output_tokens = 100
checks = {{ min_distinct = 0.0 }}
[knowledge.options]
model = "smollm2"
tokenizer = "server"
context_tokens = 4096
concurrency = 8
timeout_s = 600
"""
    (tmp_path / "shop.toml").write_text(recipe)
    return folder


def _counts(said: str) -> dict[str, int]:
    """The numbers of the report's line."""
    line = next(line for line in said.splitlines() if line.startswith("knowledge ("))
    found = {"described": re.search(r"\): ([\d,]+) of", line)}
    found |= {what: re.search(rf"([\d,]+) {what}", line) for what in ("are unknown", "failed", "written now")}
    return {what: int(number[1].replace(",", "")) if number else 0 for what, number in found.items()}


def test_a_hundred_items_end_with_a_text_or_a_reason(
    server: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"OPENAI_BASE_URL": server, "RETORT_HOME": str(tmp_path / "home"), "DATABASE_URL": ""}.items():
        monkeypatch.setenv(name, value)
    paths = [
        "--data",
        str(data),
        "--out",
        str(tmp_path / "runs"),
        "--set",
        "knowledge.items_per_call=4",
    ]
    command = ["items", "describe", str(tmp_path / "shop.toml"), *paths]
    first = CliRunner().invoke(app, command, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    counts = _counts(first.output)
    assert counts["described"] + counts["are unknown"] + counts["failed"] == N_ITEMS
    assert counts["described"] > 0
    assert "distinct" in first.output
    assert "new words each" in first.output
    again = CliRunner().invoke(app, [*command, "--set", "knowledge.retry_failed=false"], catch_exceptions=False)
    assert (_counts(again.output) | {"written now": 0}) == (counts | {"written now": 0}), "everything is stored"


class RecordingStore(KnowledgeStore):
    """Keeps the first outcome of each item: that of the request about several items."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'retort.db'}"
        upgrade(url)
        super().__init__(open_database(url))
        self.first: dict[str, ItemRecord] = {}

    def save(self, records: Sequence[ItemRecord]) -> None:
        for record in records:
            self.first.setdefault(record.item_id, record)
        super().save(records)


@pytest.mark.parametrize("items_per_call", [1, 5, 10, 20])
def test_what_a_weak_model_answers_by_items_a_request(items_per_call: int, server: str, tmp_path: Path) -> None:
    settings = LanguageModelSettings(_env_file=None, openai_base_url=server)
    options = {"model": "smollm2", "tokenizer": "server", "context_tokens": CONTEXT, "concurrency": 8, "timeout_s": 600}
    keys = {"attempts": 1, "max_failed": 1.0, "max_output_tokens": 100, "checks": {"min_distinct": 0.0}}
    store, asked = RecordingStore(tmp_path), config(items_per_call=items_per_call, options=options, **keys)
    _, report = describe_items(shop(N_FEW), asked, store, settings, Silent())
    assert len(store.first) == N_FEW
    assert report.described + report.unknown + report.failed == N_FEW
    good = [record.text for record in store.first.values() if record.error is None]
    reasons = Counter(str(record.error).split(" (")[-1][:60] for record in store.first.values() if record.error)
    print(
        f"\n{items_per_call} items a request: {len(good)} of {N_FEW} answered at first, {len(set(good))} distinct; "
        f"in the end {report.described} texts, {report.distinct} distinct, {report.failed} failed "
        f"({dict(report.problems.most_common(3))}), {report.prompt_tokens} + {report.completion_tokens} tokens, "
        f"{report.seconds:.0f} s; first {dict(reasons.most_common(2))}"
    )

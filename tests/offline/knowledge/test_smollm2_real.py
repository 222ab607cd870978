"""`items describe` with SmolLM2's real weights behind llama.cpp, over a hundred items of a beauty shop.

What comes back is what a weak model writes: every item ends with a text or a counted reason, and the report shows both.
"""

from pathlib import Path

import pytest

from retort.offline.common.progress import Silent
from retort.offline.knowledge.describe import describe_items
from retort.shared.base.settings import LanguageModelSettings
from tests.local_models.serving import serving_smollm2
from tests.offline.knowledge._fakes import config, shop, sqlite_store

pytestmark = pytest.mark.long

N_ITEMS = 100


class Heard(Silent):
    """Keeps the lines of the report."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("family", ["json", "text"])
def test_every_item_gets_a_text_or_a_counted_reason(family: str, tmp_path: Path) -> None:
    items, store, heard = shop(N_ITEMS), sqlite_store(tmp_path), Heard()
    keys = {"family": family, "items_per_call": 1, "attempts": 1, "max_failed": 1.0, "max_output_tokens": 120}
    options = {"model": "smollm2", "context_tokens": 4096, "concurrency": 2, "retries": 0, "timeout_s": 600}
    weak = config(**keys, options=options, checks={"min_distinct": 0.0})
    with serving_smollm2(tmp_path / "server.log") as url:
        settings = LanguageModelSettings(_env_file=None, openai_base_url=url)  # type: ignore[call-arg]
        known, report = describe_items(items, weak, store, settings, heard)
        again, rerun = describe_items(items, weak.model_copy(update={"retry_failed": False}), store, settings, Silent())
    assert report.completion_tokens > N_ITEMS, "the server counted them"
    assert report.written + report.failed == N_ITEMS
    assert known.height == report.described <= report.written
    assert rerun.written == rerun.completion_tokens == 0, "everything is stored"
    assert again.equals(known)
    assert sum(report.problems.values()) == report.failed
    assert f"of {N_ITEMS} items have a text" in heard.lines[-1]
    assert report.failed == 0 or f"{report.failed:,} failed" in heard.lines[-1]

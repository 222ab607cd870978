"""The demo's result table: both students, and their paired difference with its interval."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from retort.offline.cli import demo
from retort.shared.model.bundle import USERS_TEST


class Manifest:
    """A manifest with test metrics alone."""

    def __init__(self, ndcg: float) -> None:
        test = {"hr@10": 2 * ndcg, "ndcg@10": ndcg}
        self.metrics = {"test": test, "baselines": {"popularity": test}}


def test_the_table_shows_the_paired_interval_and_names_what_it_does_not_separate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = np.random.default_rng(0).integers(1, 30, 500)
    bundles = {name: tmp_path / name for name in ("plain", "distilled")}
    for (name, folder), gain in zip(bundles.items(), (0, 5), strict=True):
        (folder / USERS_TEST).parent.mkdir(parents=True)
        users = [f"u{user}" for user in range(500)]
        pl.DataFrame({"user": users, "rank": np.maximum(1, ranks - gain)}).write_parquet(bundles[name] / USERS_TEST)
    monkeypatch.setattr(demo, "read_manifest", lambda path: Manifest(0.1 if path.name == "plain" else 0.2))
    console = Console(width=120, record=True)
    demo._show_results(console, bundles)
    shown = console.export_text()
    (distilled,) = (line for line in shown.splitlines() if "distilled  " in line)
    assert "0.2000" in distilled
    assert "% [+" in distilled
    assert "paired over 500 users" in shown
    assert "does not separate them" in shown

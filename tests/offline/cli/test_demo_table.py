"""The demo's result table: both students, and their paired difference with its interval."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from retort.offline.cli import demo, demo_results
from retort.serving.ab_tests.assignment import assign, read_ab_test
from tests.serving._graphs import make_bundle


class Manifest:
    """A manifest with test metrics alone."""

    def __init__(self, ndcg: float) -> None:
        test = {"hr@10": 2 * ndcg, "ndcg@10": ndcg}
        self.metrics = {"test": test, "baselines": {"popularity": test}, "cases": 500}
        self.git_commit, self.protocol, self.student = "abc", "held", "sasrec"


def test_the_table_shows_the_paired_interval_and_names_what_it_does_not_separate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = np.random.default_rng(0).integers(1, 30, 500)
    bundles = {
        name: make_bundle(tmp_path, name=name, ranks={f"u{user}": int(rank) for user, rank in enumerate(better)})
        for name, better in {"plain": ranks, "distilled": np.maximum(1, ranks - 5)}.items()
    }
    monkeypatch.setattr(demo_results, "read_manifest", lambda path: Manifest(0.1 if path == bundles["plain"] else 0.2))
    console = Console(width=120, record=True)
    compared = demo_results.compare_students(bundles)
    demo_results.show_results(console, bundles, compared)
    shown = console.export_text()
    (distilled,) = (line for line in shown.splitlines() if "distilled  " in line)
    assert "0.2000" in distilled
    assert "% [+" in distilled
    assert "paired over 500 users" in shown
    assert "does not separate them" in shown
    base, gained = demo_results.results_table(bundles, compared).rows[1:]
    assert (base.is_baseline, base.difference, gained.users) == (True, None, 500)
    assert gained.low is not None
    assert f"[{gained.low:+.1%}" in shown


def test_the_user_whose_lists_are_shown_is_answered_by_the_distilled_student(tmp_path: Path) -> None:
    test = read_ab_test(Path(demo._ab_test(tmp_path)["RETORT_EXPERIMENT"]))
    assigned = assign(test, test.tenant, "u0000000", None)
    assert assigned is not None
    assert assigned.variant is not None
    assert (assigned.variant.name, assigned.variant.alias) == ("distilled", None)
    assert test.variants[0].name == "plain", "differences are from the plain student"

"""Results of the demo's two students: the table in the terminal, and the same for the console's page Experiments."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from retort.shared.model.manifest import read_manifest
from retort.shared.model.offline_results import OfflineRow, OfflineTable, paired_fields
from retort.shared.model.paired_test import Comparison
from retort.shared.model.promotion_gate import check_sealed

_METRIC = "ndcg@10"


def compare_students(bundles: dict[str, Path]) -> Comparison:
    """Compare the distilled student with the plain one, paired by user."""
    compared = check_sealed(bundles["plain"], bundles["distilled"], _METRIC).comparison
    assert compared is not None
    return compared


def show_results(console: Console, bundles: dict[str, Path], compared: Comparison) -> None:
    """Show the test metrics of both students, and their difference paired by user."""
    metrics = {name: read_manifest(path).metrics for name, path in bundles.items()}
    table = Table(title="test, full ranking, seen items hidden")
    for column in ("", "HR@10", "NDCG@10", "NDCG@10 to plain (95 %)"):
        table.add_column(column, justify="right" if column else "left")
    rows = {"popularity": metrics["plain"]["baselines"]["popularity"]}
    rows |= {name: measured["test"] for name, measured in metrics.items()}
    for name, test in rows.items():
        difference = compared.percent if name == "distilled" else ""
        table.add_row(name, f"{test['hr@10']:.4f}", f"{test['ndcg@10']:.4f}", difference)
    console.print(table)
    for line in (
        f"The interval is paired over {compared.users:,} users; one training a student, so it does not cover the seed.",
        "The distilled student has two objectives, text start and profile. This table does not separate them; "
        "`retort experiment run demo_objectives --seeds 1` does. With five seeds the text start brought the whole "
        "gain, and the profile objective none.",
    ):
        console.print(line, markup=False, highlight=False)


def results_table(bundles: dict[str, Path], compared: Comparison) -> OfflineTable:
    """Build the table that the console shows: popularity, and the distilled student compared with the plain one."""
    plain, distilled = (read_manifest(bundles[name]) for name in ("plain", "distilled"))
    return OfflineTable(
        name="demo",
        description="The demo's two students on its made-up shop",
        command="retort demo",
        commits=sorted({plain.git_commit, distilled.git_commit}),
        metric=_METRIC,
        protocol=plain.protocol,
        cases=plain.metrics["cases"],
        expected_seeds=1,
        missing=[],
        rows=[
            _row("popularity", plain.metrics["baselines"]["popularity"][_METRIC]),
            _row("plain", plain.metrics["test"][_METRIC], plain.student),
            _row("distilled", distilled.metrics["test"][_METRIC], distilled.student, compared),
        ],
    )


def _row(name: str, value: float, student: str | None = None, compared: Comparison | None = None) -> OfflineRow:
    return OfflineRow(
        name=name,
        student=student,
        is_baseline=name == "plain",
        is_control=False,
        explains=[],
        value=value,
        seeds=1,
        **paired_fields({**vars(compared), "baseline": compared.a} if compared else None),
    )

"""Table of an experiment for the console: what `retort experiment publish` stores in the database."""

from typing import Any

from retort.offline.experiments.results import METRIC, Results, Row, differences_of
from retort.shared.base.errors import RetortError
from retort.shared.model.offline_results import OfflineRow, OfflineTable, paired_fields


def published_table(results: Results) -> OfflineTable:
    """Build the table of all rows that have run, in the order of the experiment's file.

    Raises:
        RetortError: No run is finished.
    """
    experiment, plan = results.experiment, results.experiment.plan
    if not results.rows:
        raise RetortError(f"experiment {plan.name} has no finished run yet; run it first.")
    first, differences = results.rows[0].records[0], differences_of(results)
    commits = sorted({str(record["commit"]) for row in results.rows for record in row.records})
    return OfflineTable(
        name=plan.name,
        description=plan.title,
        command=experiment.command,
        commits=commits,
        metric=METRIC,
        protocol=first["protocol"],
        cases=first["cases"],
        expected_seeds=len(plan.config.seeds),
        missing=list(results.missing),
        rows=[_row(row, plan.config.baseline, differences[row.name, row.student]) for row in results.rows],
    )


def _row(row: Row, baseline: str, compared: dict[str, Any] | None) -> OfflineRow:
    values = row.test(METRIC)
    return OfflineRow(
        name=row.name,
        student=row.student if row.arm else None,
        is_baseline=row.name == baseline,
        is_control=bool(row.arm and row.arm.control),
        explains=row.arm.explains if row.arm else [],
        value=sum(values) / len(values) if values else None,
        seeds=len(row.records),
        **paired_fields(compared),
    )

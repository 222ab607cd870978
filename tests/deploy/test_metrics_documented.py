"""Every exported metric is documented in the operations page, and no other."""

import re
from pathlib import Path

from retort.offline.monitoring.families import NAMES
from retort.serving.runtime.metrics import Metrics

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def exported() -> set[str]:
    """Names as Prometheus shows them, the server's and the exporter's, without a histogram's parts."""
    families = Metrics().registry.collect()
    served = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    return served | {name.removesuffix("_bucket") for name in NAMES}


def explained() -> set[str]:
    """Names in the first column of the page's table of metrics."""
    rows = re.findall(r"^\|(.+?)\|.+\|.+\|$", PAGE.read_text(), re.MULTILINE)
    return {name for first in rows for name in re.findall(r"`(retort_\w+)", first)}


def test_exactly_the_exported_metrics_are_documented() -> None:
    assert exported() - explained() == set(), "add a line to docs/operations.md"
    assert explained() - exported() == set(), "docs/operations.md explains a metric that no program exports"


def test_the_fault_table_names_only_exported_metrics() -> None:
    named = set(re.findall(r"`(retort_\w+)", PAGE.read_text()))
    assert named <= exported(), "docs/operations.md names a metric that no program exports"

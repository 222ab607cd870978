"""A module's student is traced once."""

import pytest

from retort.offline.export.onnx import StudentGraph
from retort.offline.students import sasrec


@pytest.fixture(scope="module")
def traced(student: sasrec.Model) -> StudentGraph:
    return StudentGraph(student)


@pytest.fixture
def traced_once(traced: StudentGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports use the traced student of the module."""
    monkeypatch.setattr("retort.offline.export.retrieval.StudentGraph", lambda _: traced)

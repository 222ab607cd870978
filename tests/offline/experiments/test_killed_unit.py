"""A unit that is killed in mid-training goes on from its checkpoint, to the record that an undisturbed one leaves."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.offline.experiments.killed_unit import TRIAL, experiment_in

_TIMEOUT_S = 240


def test_a_unit_killed_in_mid_training_goes_on(tmp_path: Path) -> None:
    args = [sys.executable, "-m", "tests.offline.experiments.killed_unit", str(tmp_path)]
    ran = subprocess.run(args, capture_output=True, text=True, timeout=_TIMEOUT_S)
    assert ran.returncode == 0, ran.stderr
    killed, resumed, whole = (json.loads(line) for line in ran.stdout.splitlines())
    assert killed == {"killed_by": signal.SIGKILL}
    assert whole["epochs"] == [1, 2, 3, 4]
    assert resumed["epochs"] == [3, 4], "the second epoch was saved before the process died"
    for key in ("best_epoch", "validation_ndcg", "validation"):
        assert resumed["record"][key] == whole["record"][key]
    experiment = experiment_in(tmp_path / "killed")
    assert experiment.records.find(experiment.record_of(TRIAL)) == resumed["record"]

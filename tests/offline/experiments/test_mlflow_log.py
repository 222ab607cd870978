"""Units in MLflow's own file store, read back by MLflow; and nothing without a URI."""

import sys
from pathlib import Path

import pytest

from retort.offline.common.progress import Silent
from retort.offline.experiments.mlflow_log import MlflowSettings, logged_to
from retort.offline.experiments.run_unit import Experiment
from retort.offline.experiments.scheduler import run_units
from retort.offline.experiments.unit import Selection, Unit
from retort.shared.base.errors import RetortError
from tests.offline.experiments.test_plan import plan
from tests.offline.experiments.test_scheduler import made_up

# the store of a directory is old, and the only one that needs no server and no database
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*", "ignore::DeprecationWarning:mlflow.*")


def test_each_finished_unit_is_a_run_of_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    experiment = Experiment.open(plan(), None, tmp_path)
    for _ in range(2):  # what was done before is not logged again
        run_units(experiment, Silent(), made_up({"text": 8}, []), 1, Selection(), log=logged_to(uri, "tiny"))
    client = MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name("tiny")
    assert known is not None
    runs = {run.info.run_name: run for run in client.search_runs([known.experiment_id])}
    assert len(runs) == 7
    taught = runs["text-sasrec-seed-1"]
    assert taught.data.tags["arm"] == "text"
    assert taught.data.params["training.seed"] == "1"
    assert taught.data.metrics["test/ndcg_at_10"] > runs["plain-sasrec-seed-1"].data.metrics["test/ndcg_at_10"]
    assert runs["text-sasrec-trial-0"].data.metrics["validation_ndcg"] == 0.1
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_mlflow_is_asked_for_only_with_a_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as where it is not installed
    logged_to(None, "tiny")(Unit("floor", "ease", "floor"), {"commit": "abc"})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert MlflowSettings().mlflow_tracking_uri == "http://127.0.0.1:1"
    with pytest.raises(RetortError, match=r"retort-recsys\[mlflow\]"):
        logged_to("http://127.0.0.1:1", "tiny")

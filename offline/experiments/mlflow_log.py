"""Each finished unit as a run in MLflow: only where MLFLOW_TRACKING_URI is set, and with the extra `mlflow`."""

from collections.abc import Callable, Iterator
from typing import Any

from retort.offline.experiments.unit import Unit
from retort.shared.base.errors import RetortError
from retort.shared.base.settings import EnvironmentSettings

Finished = Callable[[Unit, dict[str, Any]], None]


class MlflowSettings(EnvironmentSettings):
    """Where MLflow is, by its own variable."""

    mlflow_tracking_uri: str | None = None


def logged_to(uri: str | None, experiment: str) -> Finished:
    """What to call with each finished unit and its record; without a URI it does nothing."""
    if not uri:
        return lambda unit, record: None
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise RetortError(
            "MLFLOW_TRACKING_URI is set, but MLflow is not installed: pip install 'retort-recsys[mlflow]', or unset it."
        ) from None
    client = MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name(experiment)
    experiment_id = known.experiment_id if known else client.create_experiment(experiment)

    def log(unit: Unit, record: dict[str, Any]) -> None:
        tags = {"arm": unit.arm, "student": unit.student, "kind": unit.kind, "commit": str(record["commit"])}
        run = client.create_run(experiment_id, run_name=unit.name, tags=tags)
        for key, value in unit.keys.items():
            client.log_param(run.info.run_id, key, value)
        for name, number in metrics_of(record):
            client.log_metric(run.info.run_id, name, number)
        client.set_terminated(run.info.run_id)

    return log


def metrics_of(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """test/ndcg_at_10, cost/epoch_s, validation_ndcg, seconds: MLflow's names know no @."""
    for section in ("test", "cost"):
        for name, value in record.get(section, {}).items():
            yield f"{section}/{name.replace('@', '_at_')}", float(value)
    for name in ("validation_ndcg", "best_epoch", "seconds"):
        if name in record:
            yield name, float(record[name])

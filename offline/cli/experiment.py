"""`retort experiment run` and `retort experiment report`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from retort.offline.cli.run import worker_redis
from retort.offline.common.database import migrate_and_open
from retort.offline.common.terminal import TerminalProgress
from retort.offline.experiments.comparability import check_comparability
from retort.offline.experiments.mlflow_log import MlflowSettings, logged_to
from retort.offline.experiments.plan import Plan, read_plan
from retort.offline.experiments.report import write_page, write_report
from retort.offline.experiments.results import load_results
from retort.offline.experiments.run_unit import EXPERIMENTS, Experiment, read_data
from retort.offline.experiments.scheduler import PLAN_FILE, load_experiment, run_in_processes, run_inline, run_units
from retort.offline.experiments.selection import Selection
from retort.offline.experiments.unit_tasks import MAX_WAITING, by_workers
from retort.offline.jobs.celery_app import make_app
from retort.shared.base.errors import RecipeError
from retort.shared.base.settings import Settings


def run_experiment(
    plan: Plan, data: Path | None, out: Path, workers: int | None, selection: Selection, *, again: bool
) -> Path:
    """Do what the plan declares; the folder with the records. workers: processes on this machine, None for Celery's."""
    check_comparability(plan)
    experiment = Experiment.open(plan, data.absolute() if data else None, out.absolute())
    engine = migrate_and_open(Settings())  # once, before several processes would do it
    log = logged_to(MlflowSettings().mlflow_tracking_uri, plan.name)
    with TerminalProgress() as progress:
        do = partial(run_units, again=again, log=log, before=lambda: read_data(experiment, engine, progress))
        if workers is None:
            with by_workers(make_app(worker_redis()), engine, again=again) as submit:
                do(experiment, progress, submit, MAX_WAITING, selection)
        elif workers == 1:
            do(experiment, progress, run_inline(progress), 1, selection)
        else:
            with run_in_processes(workers) as submit:
                do(experiment, progress, submit, workers, selection)
    return experiment.folder


def report_experiments(references: Sequence[Path], out: Path, page: Path | None = None) -> list[Path]:
    """Write each experiment's report into its folder, or one page of all; references: files, shipped names, folders."""
    found = [load_results(_kept(reference, out)) for reference in references]
    return [write_report(one) for one in found] if page is None else [write_page(found, page)]


def _kept(reference: Path, out: Path) -> Experiment:
    if (reference / PLAN_FILE).is_file():
        return load_experiment(reference)
    if reference.is_dir():
        raise RecipeError(
            f"{reference} holds no experiment ({PLAN_FILE} is missing); name a folder below OUT/{EXPERIMENTS}."
        )
    return load_experiment(out / EXPERIMENTS / read_plan(reference).name)

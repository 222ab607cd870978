"""`retort experiment run` and `retort experiment report`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from retort.offline.cli.jobs import worker_redis
from retort.offline.common.terminal import TerminalProgress
from retort.offline.experiments.comparability import check_alike
from retort.offline.experiments.mlflow_log import MlflowSettings, logged_to
from retort.offline.experiments.plan import Plan, read_plan
from retort.offline.experiments.report import write_page, write_report
from retort.offline.experiments.results import find_results
from retort.offline.experiments.run_unit import EXPERIMENTS, Bench, read_data
from retort.offline.experiments.scheduler import PLAN_FILE, here, kept_bench, processes, run_bench
from retort.offline.experiments.selection import Part
from retort.offline.jobs.experiment_units import AT_ONCE, by_workers
from retort.offline.jobs.tasks import make_app
from retort.offline.pipeline.opening import open_tables
from retort.shared.base.errors import RecipeError
from retort.shared.base.settings import Settings


def run_experiment(plan: Plan, data: Path | None, out: Path, workers: int | None, part: Part, *, again: bool) -> Path:
    """Do what the plan declares; the folder with the records. workers: processes here, None for Celery's."""
    check_alike(plan)
    bench = Bench.open(plan, data.absolute() if data else None, out.absolute())
    engine = open_tables(Settings())  # once, before several processes would do it
    log = logged_to(MlflowSettings().mlflow_tracking_uri, plan.name)
    with TerminalProgress() as progress:
        do = partial(run_bench, again=again, log=log, before=lambda: read_data(bench, engine, progress))
        if workers is None:
            with by_workers(make_app(worker_redis()), again=again) as submit:
                do(bench, progress, submit, AT_ONCE, part)
        elif workers == 1:
            do(bench, progress, here(progress), 1, part)
        else:
            with processes(workers) as submit:
                do(bench, progress, submit, workers, part)
    return bench.folder


def report_experiments(references: Sequence[Path], out: Path, page: Path | None = None) -> list[Path]:
    """Write each experiment's report into its folder, or one page of all; references: files, shipped names, folders."""
    found = [find_results(_kept(reference, out)) for reference in references]
    return [write_report(one) for one in found] if page is None else [write_page(found, page)]


def _kept(reference: Path, out: Path) -> Bench:
    if (reference / PLAN_FILE).is_file():
        return kept_bench(reference)
    if reference.is_dir():
        raise RecipeError(
            f"{reference} holds no experiment ({PLAN_FILE} is missing); name a folder below OUT/{EXPERIMENTS}."
        )
    return kept_bench(out / EXPERIMENTS / read_plan(reference).name)

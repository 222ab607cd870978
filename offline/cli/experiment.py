"""Implementation of `retort experiment run`, `report`, and the experiments about profiles."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from retort.offline.cli.run import worker_redis
from retort.offline.common.database import migrate_and_open
from retort.offline.common.terminal import TerminalProgress, show_rows
from retort.offline.experiments.mlflow_log import MlflowSettings, logged_to
from retort.offline.experiments.plan import Plan
from retort.offline.experiments.plan_files import check_comparability, read_plan, read_profile_plan
from retort.offline.experiments.report import write_comparison, write_page, write_report
from retort.offline.experiments.results import load_results
from retort.offline.experiments.run_unit import EXPERIMENTS, PLAN_FILE, Experiment, load_experiment, read_data
from retort.offline.experiments.scheduler import run_in_processes, run_inline, run_units
from retort.offline.experiments.unit import Selection
from retort.offline.experiments.unit_tasks import MAX_WAITING, by_workers
from retort.offline.jobs.celery_app import make_app
from retort.shared.base.errors import RecipeError
from retort.shared.base.settings import Settings


def run_experiment(
    plan: Plan, data: Path | None, out: Path, workers: int | None, selection: Selection, *, again: bool
) -> Path:
    """Run a plan. workers: processes on this machine; None: Celery workers. Returns the folder with the records."""
    check_comparability(plan)
    experiment = Experiment.open(plan, data.absolute() if data else None, out.absolute())
    engine = migrate_and_open(Settings())  # once, before several processes would do it
    log = logged_to(MlflowSettings().mlflow_tracking_uri, plan.name)
    with TerminalProgress() as progress:
        run = partial(run_units, again=again, log=log, before=lambda: read_data(experiment, engine, progress))
        if workers is None:
            with by_workers(make_app(worker_redis()), engine, again=again) as submit:
                run(experiment, progress, submit, MAX_WAITING, selection)
        elif workers == 1:
            run(experiment, progress, run_inline(progress), 1, selection)
        else:
            with run_in_processes(workers) as submit:
                run(experiment, progress, submit, workers, selection)
    return experiment.folder


def report_experiments(references: Sequence[Path], out: Path, page: Path | None = None) -> list[Path]:
    """Write each experiment's report into its folder, or one page of all; references: files, shipped names, folders."""
    results = [load_results(_find_experiment(reference, out)) for reference in references]
    return [write_report(one) for one in results] if page is None else [write_page(results, page)]


def compare_profiles(
    kind: str, recipe: str, data: Path | None, out: Path, to: Path, overrides: Sequence[str], n_seeds: int
) -> tuple[Path, Path]:
    """Run a shipped experiment about profiles on a recipe and show its table. Returns table and picture."""
    plan = read_profile_plan(kind, recipe, overrides, n_seeds)
    folder = run_experiment(plan, data, out, 1, Selection(), again=False)
    rows, table, picture = write_comparison(load_results(load_experiment(folder)), to, kind)
    show_rows(rows, f"{kind} of {recipe}, ndcg@10")
    return table, picture


def _find_experiment(reference: Path, out: Path) -> Experiment:
    if (reference / PLAN_FILE).is_file():
        return load_experiment(reference)
    if reference.is_dir():
        raise RecipeError(
            f"{reference} holds no experiment ({PLAN_FILE} is missing); name a folder below OUT/{EXPERIMENTS}."
        )
    return load_experiment(out / EXPERIMENTS / read_plan(reference).name)

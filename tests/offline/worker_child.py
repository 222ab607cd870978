"""A real worker over a made-up line: `python -m tests.offline.worker_child REDIS_URL DATABASE_URL MODE`.

MODE `kill-b`: the first time step b is worked on, the process kills itself in the middle.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from retort.offline.common.progress import Progress
from retort.offline.jobs.celery_app import make_app, run_worker
from retort.offline.jobs.runs import RunStatus
from retort.offline.jobs.tasks import register_step_task
from retort.offline.pipeline.artifact_store import ArtifactStore
from retort.offline.pipeline.dag import Pipeline, Step
from retort.shared.base.errors import DataError
from retort.shared.db.session import open_database

VISIBILITY_S = 1


def steps(mode: str) -> list[Step[Progress]]:
    def work(pipeline: Pipeline[Progress], directory: Path) -> None:
        pipeline.context.update("rows", 1, 2)
        (directory / "out").write_text("whole")

    def killed_once(pipeline: Pipeline[Progress], directory: Path) -> None:
        marker = directory / "begun"
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        work(pipeline, directory)

    def refused(pipeline: Pipeline[Progress], directory: Path) -> None:
        raise DataError("events.csv row 3: no user_id; fill it in.")

    def broken(pipeline: Pipeline[Progress], directory: Path) -> None:
        raise ZeroDivisionError("division by zero")

    second = {"kill-b": killed_once, "refuse-b": refused, "break-b": broken}.get(mode, work)
    return [
        Step("a", work),
        Step("b", second, needs=("a",), queue="gpu-train", resumes=True),
        Step("c", work, needs=("b",)),
    ]


def main() -> None:
    redis_url, database_url, mode = sys.argv[1:]

    def make_pipeline(run: RunStatus, progress: Progress) -> Pipeline[Any]:
        return Pipeline(steps(mode), progress, ArtifactStore(run.out_dir), progress)

    app = make_app(redis_url, visibility_s=VISIBILITY_S)
    register_step_task(app, open_database(database_url), make_pipeline, lambda pipeline: pipeline.ensure_path("c"))
    run_worker(app, ["cpu", "gpu-train"])


if __name__ == "__main__":
    main()

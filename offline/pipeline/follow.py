"""A follower: a process that takes part in the trainings of the first process of its group (`train_processes`)."""

from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Silent
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import make_context
from retort.offline.pipeline.train import fit_student
from retort.offline.recipes.recipe import parse_recipe
from retort.offline.training.processes import Processes, close_group, open_group
from retort.shared.base.settings import Settings


def follow() -> None:
    """Take part in every training of the group's first process, until it has no more."""
    while (job := Processes.current().of_first(None)) is not None:
        context = make_context(
            parse_recipe(job["name"], job["recipe"]), job["data"], migrate_and_open(Settings()), Silent()
        )
        pipeline = make_pipeline(context, job["out"])
        fit_student(pipeline, job["split_step"], job["lists_step"], job["work"], job["epochs"])


if __name__ == "__main__":
    open_group()
    follow()
    close_group()

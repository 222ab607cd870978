"""A database of the last commit before the rooms: migrated, read, and worked on."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from celery import Celery

from retort.offline.common.progress import Progress
from retort.offline.jobs import runs
from retort.offline.jobs.tasks import run_step
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext, bundle_path, make_context
from retort.offline.pipeline.dag import Pipeline
from retort.offline.recipes.recipe import parse_recipe
from retort.offline.refresh.jobs import dead_letters, read_spec, retry_job
from retort.offline.refresh.worker import RefreshWorker
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import current, head, upgrade
from retort.shared.db.models import Step
from retort.shared.db.session import open_database
from retort.shared.events.events_table import read_events
from retort.shared.events.exposures_table import read_exposures
from retort.shared.model import registry
from retort.shared.profiles.profile_choices import view_profile
from retort.shared.profiles.refreshes import read_job, read_jobs
from tests.compatibility._fixtures import BEFORE_ROOMS, REVISION, load_database

NO_SERVER = LanguageModelSettings(_env_file=None, openai_base_url=None, openai_api_key=None)  # type: ignore[call-arg]


@pytest.fixture
def old(database_url: str, tmp_path: Path) -> Iterator[sa.Engine]:
    """The earlier commit's database, as SQLite and as PostgreSQL, migrated to today's tables."""
    load_database(database_url, tmp_path)
    assert current(database_url) == REVISION
    upgrade(database_url)
    assert current(database_url) == head()
    engine = open_database(database_url)
    yield engine
    engine.dispose()


def test_bundles_aliases_and_their_changes_are_read(old: sa.Engine) -> None:
    versions = registry.list_published(old)
    assert {version.name: version.version for version in versions} == {"tiny (plain)": 1, "tiny": 1}
    assert registry.resolve(old, "champion").name == "tiny"
    assert registry.resolve(old, "challenger").name == "tiny (plain)"
    assert [change.alias for change in registry.changes(old)] == ["challenger", "champion", "champion"]
    assert registry.rollback(old, "champion").name == "tiny (plain)"


def test_profiles_and_what_people_decided_are_read(old: sa.Engine) -> None:
    edited, pinned, erased = (view_profile(old, f"user-{user}") for user in range(3))
    assert edited.text == "I like quiet films."
    assert edited.choice is not None
    assert (edited.choice.kind, edited.choice.set_by) == ("edited", "user-0")
    assert pinned.choice is not None
    assert pinned.choice.kind == "pinned"
    assert pinned.text == pinned.versions[0].text
    assert erased.choice is not None
    assert (erased.choice.kind, erased.text, erased.versions) == ("erased", None, ())


def test_events_and_exposures_are_read(old: sa.Engine) -> None:
    events = [event for batch in read_events(old) for event in batch]
    # the events of u0000004 were erased
    assert [(event.user_id, event.session_id, event.event_type) for event in events] == [
        ("u0000001", None, "click"),
        (None, "guest", "click"),
        (None, "visitor", "click"),
    ]
    lists = [exposure for batch in read_exposures(old) for exposure in batch]
    assert {len(exposure.item_ids) for exposure in lists} == {3}
    assert {exposure.source for exposure in lists} == {"student", "session"}


def test_the_refresh_is_read_and_finished(old: sa.Engine, tmp_path: Path) -> None:
    shutil.copytree(BEFORE_ROOMS / "snapshot", tmp_path / "snapshot")
    (job,) = read_jobs(old)
    assert (job.name, job.status, job.users_done) == ("movies", "running", 3)
    assert job.chunks == {"done": 1, "running": 1, "failed": 1, "pending": 1}
    (letter,) = dead_letters(old, job.id)
    assert (letter.position, letter.error) == (2, "no answer within 5 s")
    assert read_spec(old, job.id).profiles.backend == "template"
    with RefreshWorker(old, NO_SERVER) as worker:
        assert worker.work_on() == 2, "the waiting chunk and that of the dead worker"
        assert retry_job(old, job.id) == 1
        assert worker.work_on() == 1
    job = read_job(old, job.id)
    assert (job.status, job.users_done, job.failed) == ("done", 12, 0)
    assert view_profile(old, "user-0").text == "I like quiet films."
    assert view_profile(old, "user-2").text is None
    assert view_profile(old, "user-11").text


def test_the_run_is_read_and_finished(old: sa.Engine, tmp_path: Path) -> None:
    (run,) = runs.read_runs(old)
    assert [step.status for step in run.steps][:3] == ["done", "running", "pending"]
    assert run.out_dir == tmp_path / "submitted"

    def open_submitted(run: runs.RunStatus, progress: Progress) -> Pipeline[RunContext]:
        context = make_context(parse_recipe(run.recipe_name, run.recipe), None, old, progress, tmp_path / "bundles")
        return make_pipeline(context, run.out_dir)

    app = Celery(broker="memory://")
    assert runs.lease_step(old, run.id, "split") is None, "the migration renewed it: its worker may be alive"
    with old.begin() as connection:
        expired = sa.update(Step).where(Step.run_id == run.id, Step.name == "split")
        connection.execute(expired.values(heartbeat_at=run.created_at - timedelta(hours=1)))
    for step in run.steps[1:]:
        lease = runs.lease_step(old, run.id, step.name)
        assert lease is not None, step.name
        run_step(app, old, lease, open_submitted, bundle_path)
    run = runs.read_run(old, run.id)
    assert (run.status, run.error) == ("done", None)
    assert {step.status for step in run.steps} == {"done"}
    assert Path(str(run.bundle)).is_dir()
    assert registry.list_published(old)[0].version == 2

"""A refresh with faults: of three Celery workers two are killed, one is added, and the database is down for a while.

    python -m benchmarks.refresh --recipe ml1m_sasrec_profile --data DIR [--pause-s 20]

Histories are the data's own; the language model is a server on loopback that answers after a moment, so that the
refresh is measured and not a model. Ends with 1 unless every user has exactly one profile.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from retort.offline.common.progress import Silent
from retort.offline.data.load import load_data
from retort.offline.data.split import make_split
from retort.offline.jobs.celery_app import make_app
from retort.offline.local.local_redis import private_redis
from retort.offline.local.subprocesses import start_child
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.profiles.history import user_histories
from retort.offline.recipes.recipe import load_recipe
from retort.offline.refresh.jobs import create_job
from retort.offline.refresh.messages import wake_workers
from retort.offline.refresh.snapshot import ProfileRequest, write_snapshot
from retort.shared.base.errors import StoreError
from retort.shared.db.migrate import upgrade
from retort.shared.db.models import Profile
from retort.shared.db.session import open_database, reading
from retort.shared.profiles.refreshes import read_job
from tests import postgres
from tests.offline.profiles._fakes import GOOD
from tests.offline.profiles._server import Answer, completion, serving


def main() -> int:
    arguments = _arguments()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (home / "postgres").mkdir()
        server = stack.enter_context(postgres.started(home / "postgres"))
        url = stack.enter_context(server.database())
        redis = stack.enter_context(private_redis(home / "redis", persist=False))
        model = stack.enter_context(serving(_answer))
        upgrade(url)
        engine = open_database(url)
        config = _config(arguments.chunk_users)
        histories, items = _data(arguments)
        snapshot = write_snapshot(home / "snapshot", map(ProfileRequest, histories), items, arguments.chunk_users)
        say(f"{snapshot.n_users} users in {snapshot.n_chunks} chunks")

        def start(number: int) -> Any:
            args = [sys.executable, "-m", "tests.offline.refresh.worker_child", url, model.url, redis.url, "2"]
            return stack.enter_context(start_child(args, f"worker-{number}", log=home / f"worker-{number}.log"))

        crew = [start(number) for number in range(3)]
        job_id = create_job(engine, "under fire", config, snapshot)
        wake_workers(make_app(redis.url))

        def until(done: float) -> None:
            while read_job(engine, job_id).users_done < done * snapshot.n_users:
                time.sleep(0.2)

        for number, share in enumerate((0.15, 0.3)):
            until(share)
            crew[number].process.kill()
            crew[number].process.wait()
            say(f"worker-{number} killed at {share:.0%}")
        crew.append(start(3))
        say("worker-3 added")
        until(0.5)
        _pause(server, engine, arguments.pause_s)
        until(1.0)
        while (job := read_job(engine, job_id)).status == "running":
            time.sleep(0.2)
        with reading(engine) as session:
            found = Counter(session.scalars(sa.select(Profile.user_id).filter_by(status="done")))
        once = set(found.values()) == {1} and len(found) == snapshot.n_users
        say(f"{job.status}: {len(found)} users with a profile, each once: {once}; prompts answered {len(model.bodies)}")
        seconds = (job.ended_at - job.started_at).total_seconds() if job.ended_at and job.started_at else 0.0
        say(f"{seconds:.0f} s, chunks {job.chunks}, {job.prompt_tokens + job.completion_tokens:,} tokens counted")
        return 0 if once and job.status == "done" else 1


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", default="ml1m_sasrec_profile")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pause-s", type=float, default=20.0)
    parser.add_argument("--chunk-users", type=int, default=64)
    return parser.parse_args()


def _answer(_number: int, _body: dict[str, Any]) -> Answer:
    time.sleep(0.02)
    return completion(GOOD)


def _config(chunk_users: int) -> ProfilesConfig:
    options = {"model": "loopback", "concurrency": 8, "context_tokens": 100_000}
    # the made-up answer claims what it likes; grounding is measured elsewhere
    trust = {"min_grounding": 0.0}
    return ProfilesConfig(
        backend="openai", domain="movies", options=options, chunk_users=chunk_users, max_history=50, trust=trust
    )


def _data(arguments: argparse.Namespace) -> Any:
    recipe = load_recipe(arguments.recipe)
    loaded = load_data(recipe.data, arguments.data, Silent())
    return user_histories(make_split(loaded.interactions, recipe.split, "held")), loaded.items


def _pause(server: postgres.Server, engine: sa.Engine, pause_s: float) -> None:
    name = engine.url.database
    engine.dispose()
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        say("database cut off")
        try:
            read_any(engine)
        except StoreError:
            say("database refuses connections")
        time.sleep(pause_s)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        say(f"database back after {pause_s:g} s")


def read_any(engine: sa.Engine) -> None:
    """Raises StoreError while the database is away."""
    with reading(engine) as session:
        session.execute(sa.text("SELECT 1"))


if __name__ == "__main__":
    sys.exit(main())

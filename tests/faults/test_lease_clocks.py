"""Two worker processes whose clocks are an hour apart share one step: a stale owner never ends the new owner's step."""

import json
import os
import platform
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from retort.offline.common.progress import Silent
from retort.offline.jobs import runs
from retort.offline.jobs.leases import LeaseLostError
from retort.offline.jobs.runs import StepItem
from retort.offline.pipeline.dag import Step
from retort.shared.db import models
from retort.shared.db.session import database_time, transaction
from tests.faults._clock import MovableClock

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="clocks are moved by a preloaded library"
)

ACQUIRE = """
import json, sys
from datetime import UTC, datetime
from retort.offline.jobs import runs
from retort.shared.db.session import open_database
engine = open_database(sys.argv[1])
lease = runs.lease_step(engine, sys.argv[2], "a", "second:1")
print(json.dumps({"took": lease is not None, "clock": datetime.now(UTC).timestamp()}))
"""


def acquire_elsewhere(database_url: str, run_id: str, clock: MovableClock) -> dict[str, float]:
    """Let another process with its own clock acquire the step."""
    environment = {**os.environ, **clock.environment}
    args = [sys.executable, "-c", ACQUIRE, database_url, run_id]
    found: dict[str, float] = json.loads(subprocess.run(args, env=environment, capture_output=True, check=True).stdout)
    return found


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("hours", [1, -1], ids=["ahead", "behind"])
def test_a_stale_owner_cannot_end_the_step_of_a_process_with_another_clock(
    engine: Engine, database_url: str, tmp_path: Path, hours: int
) -> None:
    run_id = runs.create_run(engine, "tiny", {}, tmp_path, tmp_path, [Step("a", lambda pipeline, work: None)])
    lease = runs.lease_step(engine, run_id, "a", "first:1")
    assert lease is not None
    stale = StepItem(engine, lease, Silent())
    clock = MovableClock(tmp_path / "clock")
    clock.jump_by(f"{hours:+d}h")
    second = acquire_elsewhere(database_url, run_id, clock)
    with transaction(engine) as session:
        now = database_time(session)
        assert abs(second["clock"] - now.timestamp() - hours * 3600) < 60, "the clock of the second process is off"
        if database_url.startswith("postgresql"):
            assert not second["took"], "the lease is live by the database's clock, whatever the worker's says"
        # SQLite's clock is that of each process; here the fencing token alone protects the step
        expired = now - timedelta(hours=2)
        session.execute(sa.update(models.Step).values(heartbeat_at=expired))
    if not second["took"]:
        assert acquire_elsewhere(database_url, run_id, clock)["took"]
    for write in (stale.finish, stale.renew, stale.release, lambda: stale.fail("too late")):
        with pytest.raises(LeaseLostError):
            write()
    step = runs.read_run(engine, run_id).step("a")
    assert (step.status, step.attempts, step.error) == ("running", 2, None)

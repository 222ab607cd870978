"""Leases, retries, dead letters and budgets of refreshes, on both databases: work is neither lost nor done twice."""

import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from retort.offline.cli.refresh_jobs import stop_if_failed, work_until_done
from retort.offline.jobs.leases import LeaseLostError, LeaseRules
from retort.offline.profiles.backends._base import Prompt, Reply
from retort.offline.refresh import chunks
from retort.offline.refresh.chunks import lease_chunk
from retort.offline.refresh.jobs import dead_letters, resume_job, retry_job
from retort.shared.base.errors import ProfileError
from retort.shared.db.models import Profile, RefreshChunk
from retort.shared.db.session import reading, transaction
from retort.shared.profiles.refreshes import RefreshError, cancel_job, read_job, read_jobs, user_problems
from tests.offline.profiles._fakes import GOOD
from tests.offline.refresh._factory import QUICK, job, snapshot, worker


def stored_users(engine: Engine) -> Counter[str]:
    with reading(engine) as session:
        return Counter(session.scalars(sa.select(Profile.user_id).filter_by(status="done")))


def all_users(n_users: int) -> Counter[str]:
    return Counter(f"user-{n}" for n in range(n_users))


def let_leases_expire(engine: Engine) -> None:
    with transaction(engine) as session:
        for row in session.scalars(sa.select(RefreshChunk).filter_by(status="running")):
            assert row.heartbeat_at is not None
            row.heartbeat_at -= timedelta(hours=1)


def test_a_job_is_done_and_every_user_has_one_profile(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 11, 3)
    someone, backend = worker(engine)
    assert someone.work_on() == 4
    status = read_job(engine, job_id[:6])
    assert (status.status, status.chunks, status.users_done, status.written) == ("done", {"done": 4}, 11, 11)
    assert (status.prompt_tokens, status.completion_tokens) == (110, 55)
    assert status.users_per_s > 0
    assert stored_users(engine) == all_users(11)
    assert someone.work_on() == 0
    assert len(backend.asked) == 11
    someone.close()
    assert backend.closed


def test_a_second_refresh_of_the_same_histories_calls_no_model(engine: Engine, tmp_path: Path) -> None:
    for folder, asked in (("a", 6), ("b", 0)):
        job_id = job(engine, tmp_path / folder, 6, 3)
        someone, backend = worker(engine)
        someone.work_on(job_id)
        assert len(backend.asked) == asked
    assert read_job(engine, job_id).reused == 6
    assert read_jobs(engine)[0].id == job_id


def test_live_leases_are_left_alone_and_expired_ones_taken_over(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 3, 3)
    first = lease_chunk(engine, "first", QUICK)
    assert first is not None
    assert lease_chunk(engine, "second", QUICK) is None
    let_leases_expire(engine)
    second = lease_chunk(engine, "second", QUICK)
    assert second is not None
    assert (second.position, second.lease.attempt) == (first.position, 2)
    # the first worker was only suspended: its late writes change nothing
    for late in (first.finish, first.renew, first.release):
        with pytest.raises(LeaseLostError):
            late()
    assert read_job(engine, job_id).chunks == {"running": 1}
    second.finish()
    assert read_job(engine, job_id).status == "done"


def test_several_workers_share_a_job(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 24, 2)

    def slow(_prompt: Prompt) -> str:
        time.sleep(0.005)
        return GOOD

    pairs = [worker(engine, slow, LeaseRules(lease_s=30)) for _ in range(4)]
    threads = [threading.Thread(target=pair[0].work_on) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(backend.asked) for _, backend in pairs) == 24
    assert stored_users(engine) == all_users(24)
    assert read_job(engine, job_id).status == "done"


def test_the_last_two_chunks_ended_at_once_end_the_job(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 8, 1)
    held = [lease_chunk(engine, f"w{n}", QUICK) for n in range(8)]
    threads = [threading.Thread(target=chunk.finish) for chunk in held if chunk is not None]
    assert len(threads) == 8
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_job(engine, job_id).status == "done"


def test_a_chunk_that_keeps_failing_is_a_dead_letter_with_its_reason(engine: Engine, tmp_path: Path) -> None:
    def answer(prompt: Prompt) -> str:
        if prompt.events[0].facts.title.startswith("Film 4:"):
            raise ProfileError("the model fell over; restart it.")
        return GOOD

    job_id = job(engine, tmp_path, 6, 2)
    someone, _ = worker(engine, answer)
    someone.work_on()
    status = read_job(engine, job_id)
    assert (status.status, status.chunks) == ("failed", {"done": 2, "failed": 1})
    assert "1 of 3 chunks are dead letters" in (status.error or "")
    (dead,) = dead_letters(engine, job_id)
    assert (dead.attempts, dead.error, dead.user_ids) == (
        3,
        "the model fell over; restart it.",
        ("user-4", "user-5"),
    )
    assert retry_job(engine, job_id) == 1
    someone, backend = worker(engine)
    someone.work_on()
    assert read_job(engine, job_id).status == "done"
    assert stored_users(engine) == all_users(6)
    assert len(backend.asked) == 1, "user-5 had been answered before user-4 failed"


def test_failed_chunks_wait_before_they_are_tried_again(engine: Engine, tmp_path: Path) -> None:
    def broken(_prompt: Prompt) -> str:
        raise ZeroDivisionError

    job_id = job(engine, tmp_path, 2, 2)
    someone, backend = worker(engine, broken, LeaseRules(backoff_s=60))
    assert someone.work_on() == 0
    assert len(backend.asked) == 1
    assert read_job(engine, job_id).chunks == {"pending": 1}


def test_a_job_whose_chunks_all_die_is_given_up(engine: Engine, tmp_path: Path) -> None:
    def broken(_prompt: Prompt) -> str:
        raise ProfileError("no key.")

    job_id = job(engine, tmp_path, 20, 1)
    someone, backend = worker(engine, broken)
    someone.work_on()
    assert read_job(engine, job_id).status == "failed"
    assert len(backend.asked) <= 5 * 3 + 15


def test_a_chunk_whose_workers_die_is_a_dead_letter(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 2, 2)
    for _ in range(3):
        assert lease_chunk(engine, "killed", QUICK) is not None
        let_leases_expire(engine)
    assert lease_chunk(engine, "careful", QUICK) is None
    assert read_job(engine, job_id).status == "failed"
    assert "its worker died 3 times" in dead_letters(engine, job_id)[0].error


def test_users_that_fail_alone_are_counted_and_can_be_tried_again(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 4, 2, max_failed=1.0)
    someone, _ = worker(engine, lambda prompt: "" if prompt.events[0].facts.title.startswith("Film 1:") else GOOD)
    someone.work_on()
    status = read_job(engine, job_id)
    assert (status.status, status.written, status.failed) == ("done", 3, 1)
    assert user_problems(engine, job_id) == {"empty": 1}
    assert retry_job(engine, job_id) == 1
    worker(engine)[0].work_on()
    assert stored_users(engine) == all_users(4)


def test_cancel_stops_workers_in_the_middle_and_resume_goes_on(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 20, 10)

    def answer(_prompt: Prompt) -> str:
        time.sleep(0.02)
        if len(backend.asked) == 3:
            cancel_job(engine, job_id)
        return GOOD

    someone, backend = worker(engine, answer)
    assert someone.work_on() == 0
    asked = len(backend.asked)
    assert asked < 10
    status = read_job(engine, job_id)
    assert (status.status, status.chunks) == ("cancelled", {"pending": 2})
    with pytest.raises(RefreshError, match="cancelled"):
        cancel_job(engine, job_id)
    resume_job(engine, job_id)
    worker(engine)[0].work_on()
    assert read_job(engine, job_id).status == "done"
    assert stored_users(engine) == all_users(20)


def test_the_budget_stops_all_and_a_larger_one_goes_on(engine: Engine, tmp_path: Path) -> None:
    prices = {"usd_per_million_input": 1000.0, "usd_per_million_output": 1000.0}
    job_id = job(engine, tmp_path, 30, 30, budget_usd=0.1, spending=prices)

    def answer(_prompt: Prompt) -> Reply:
        time.sleep(0.03)
        return Reply(GOOD, 10, 5)

    someone, backend = worker(engine, answer)
    someone.work_on()
    status = read_job(engine, job_id)
    assert status.status == "stopped"
    assert "the budget is spent: $0.1" in (status.error or "")
    # 0.015 a text: the seventh reaches it; a few more until the next heartbeat
    assert 7 <= len(backend.asked) < 15
    resume_job(engine, job_id, budget_usd=10.0)
    worker(engine)[0].work_on()
    status = read_job(engine, job_id)
    assert status.status == "done"
    assert status.cost_usd == pytest.approx(30 * 0.015)
    with reading(engine) as session:
        costs = set(session.scalars(sa.select(Profile.cost_usd)))
    assert list(costs) == [pytest.approx(0.015)]


def test_a_budget_in_usd_requires_prices(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(RefreshError, match="usd_per_million_input"):
        job(engine, tmp_path, 2, 2, budget_usd=1.0)


def test_a_worker_that_cannot_open_its_model_harms_no_chunk(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 2, 2)
    someone, _ = worker(engine)

    def fail(*_: object) -> None:
        raise ProfileError("no GPU here.")

    someone._open = fail  # type: ignore[assignment]
    with pytest.raises(ProfileError, match="no GPU"):
        someone.work_on()
    assert read_job(engine, job_id).chunks == {"pending": 1}
    with reading(engine) as session:
        assert session.scalars(sa.select(RefreshChunk.attempts)).all() == [0]


def test_a_worker_that_stops_releases_its_chunk(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 6, 6)

    def answer(_prompt: Prompt) -> str:
        if len(backend.asked) == 2:
            someone.stopping.set()
        return GOOD

    someone, backend = worker(engine, answer)
    assert someone.work_on() == 0
    assert read_job(engine, job_id).chunks == {"pending": 1}
    assert len(stored_users(engine)) == 2


def test_the_oldest_job_comes_first(engine: Engine, tmp_path: Path) -> None:
    first, second = job(engine, tmp_path / "a", 2, 1), job(engine, tmp_path / "b", 2, 1)
    taken = [lease_chunk(engine, "w", QUICK) for _ in range(4)]
    assert [one.job_id for one in taken if one] == [first, first, second, second]


def test_a_snapshot_reads_any_chunk_alone(tmp_path: Path) -> None:
    made = snapshot(tmp_path / "many", 600, 2)
    assert (made.n_users, made.n_chunks) == (600, 300)
    assert sorted(path.name for path in made.root.glob("part-*")) == ["part-00000.parquet", "part-00001.parquet"]
    assert [request.history.user_id for request in made.chunk(256)] == ["user-512", "user-513"]
    with pytest.raises(ProfileError, match="300 chunks"):
        made.chunk(300)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_refresh_cancelled_while_a_chunk_is_acquired_stays_cancelled(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite allows no other writer in between; PostgreSQL does."""
    job_id = job(engine, tmp_path)
    begin = chunks._begin_job

    def cancelled_first(*args: Any) -> bool:
        monkeypatch.setattr(chunks, "_begin_job", begin)
        cancel_job(engine, job_id)
        return begin(*args)

    monkeypatch.setattr(chunks, "_begin_job", cancelled_first)
    assert lease_chunk(engine, "worker", QUICK) is None
    status = read_job(engine, job_id)
    assert (status.status, status.chunks) == ("cancelled", {"pending": 4})


def test_a_refresh_in_which_no_user_got_a_profile_has_failed(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 3, 3, max_failed=1.0, attempts=1)
    worker(engine, answer=lambda _: Reply("", error="a refusal", final=True))[0].work_on()
    status = read_job(engine, job_id)
    assert (status.status, status.written, status.failed) == ("failed", 0, 3)
    assert status.error is not None
    assert "no user got a profile" in status.error


def test_work_that_ends_with_a_failed_refresh_is_an_error(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 3, 3, max_failed=1.0, attempts=1)
    failing = worker(engine, answer=lambda _: Reply("", error="a refusal", final=True))[0]
    work_until_done(engine, failing)
    with pytest.raises(RefreshError, match=f"refresh {job_id[:8]} is failed: no user got a profile"):
        stop_if_failed(engine, failing.job_ids)
    good = worker(engine)[0]
    stop_if_failed(engine, good.job_ids)

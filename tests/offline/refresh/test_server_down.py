"""A model server that is down: requests are repeated, then the reason is reported; no user is recorded as failed."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from retort.offline.cli.refresh_jobs import retry, show_dead, show_status, work_until_done
from retort.offline.jobs.leases import LeaseRules
from retort.offline.profiles.backends._base import Prompt, Reply
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.refresh.chunks import next_try_s
from retort.offline.refresh.jobs import create_job, dead_letters
from retort.offline.refresh.worker import RefreshWorker
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.profiles.refreshes import RefreshError, read_job
from tests.offline.profiles._fakes import GOOD
from tests.offline.profiles._server import Answer, completion, serving
from tests.offline.refresh._factory import QUICK, job, snapshot, worker


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The database that the commands find too."""
    url = f"sqlite:///{tmp_path}/retort.db"
    monkeypatch.setenv("DATABASE_URL", url)
    upgrade(url)
    engine = open_database(url)
    yield engine
    engine.dispose()


def served_job(engine: Engine, folder: Path, n_users: int, chunk_users: int) -> str:
    options: dict[str, Any] = {"model": "fake-model", "retries": 1, "backoff_s": 0.0, "timeout_s": 5.0}
    config = ProfilesConfig(backend="openai", domain="movies", chunk_users=chunk_users, options=options)
    return create_job(engine, "test", config, snapshot(folder / "snapshot", n_users, chunk_users))


def work(engine: Engine, url: str) -> None:
    settings = LanguageModelSettings(openai_base_url=url, openai_api_key=SecretStr("key"))
    with RefreshWorker(engine, settings, QUICK) as someone:
        someone.work_on()


def nowhere() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}/v1"


# chunks of 10: too few failures in one to call the model hopeless; of 40: enough
@pytest.mark.parametrize("chunk_users", [10, 40])
def test_a_server_that_stays_down_ends_in_dead_letters_with_the_reason(
    engine: Engine, tmp_path: Path, chunk_users: int, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = served_job(engine, tmp_path, 40, chunk_users)
    work(engine, nowhere())
    status = read_job(engine, job_id)
    assert (status.status, status.written) == ("failed", 0)
    letters = dead_letters(engine, job_id)
    assert [letter.attempts for letter in letters] == [3] * (40 // chunk_users)
    assert all("cannot be reached" in letter.error and "OPENAI_BASE_URL" in letter.error for letter in letters)
    with pytest.raises(RefreshError, match="the server of fake-model did not answer") as told:
        show_status(job_id, watch=False)
    assert f"retort refresh retry {job_id[:8]}" in str(told.value)
    show_dead(job_id)
    assert "cannot be" in capsys.readouterr().out


def test_a_retry_after_the_outage_profiles_all_users(engine: Engine, tmp_path: Path) -> None:
    job_id = served_job(engine, tmp_path, 6, 3)
    work(engine, nowhere())
    assert retry(job_id) == "2 chunks are queued again"
    with serving(lambda _n, _body: completion()) as fake:
        work(engine, fake.url)
    assert len(fake.bodies) == 6
    assert (read_job(engine, job_id).status, read_job(engine, job_id).written) == ("done", 6)


def test_one_missing_reply_is_requested_again_and_replies_are_kept(engine: Engine, tmp_path: Path) -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        # one prompt's both attempts meet a busy server; the chunk comes again for it alone
        return (503, {"error": "busy"}, {}) if number in (0, 1) else completion()

    job_id = served_job(engine, tmp_path, 4, 4)
    with serving(script) as fake:
        settings = LanguageModelSettings(openai_base_url=fake.url, openai_api_key=SecretStr("key"))
        with RefreshWorker(engine, settings, QUICK) as someone:
            someone.work_on()
    status = read_job(engine, job_id)
    assert (status.status, status.failed, status.written + status.reused) == ("done", 0, 4)


def test_a_prompt_that_never_gets_an_answer_fails_alone(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(prompt: Prompt) -> Reply | str:
        if prompt.events[0].facts.title.startswith("Film 2:"):
            return Reply("", error="no answer within 5 s (after 2 attempts)", final=True, unanswered=True)
        return GOOD

    job_id = job(engine, tmp_path, 4, 4)
    someone, backend = worker(engine, answer)
    assert someone.work_on() == 1
    status = read_job(engine, job_id)
    assert (status.status, status.chunks) == ("done", {"done": 1})
    assert (status.users_done, status.reused, status.failed) == (3, 3, 1)
    assert len(backend.asked) == 4 + 1 + 1
    show_status(job_id, watch=False)
    said = capsys.readouterr().out
    assert "3 of 4" in said
    assert "1 users without a profile: no answer within 5 s" in said
    # nothing was learned about the user, so who asks again asks the model again
    assert retry(job_id).startswith("1 chunk is queued again")
    worker(engine)[0].work_on()
    assert (read_job(engine, job_id).users_done, read_job(engine, job_id).failed) == (4, 0)


def test_users_for_whom_the_model_fails_are_not_counted_as_done(engine: Engine, tmp_path: Path) -> None:
    job_id = job(engine, tmp_path, 4, 4, attempts=1)
    worker(engine, lambda prompt: "no" if prompt.events[0].facts.title.startswith("Film 1:") else GOOD)[0].work_on()
    status = read_job(engine, job_id)
    assert (status.status, status.users_done, status.written, status.failed) == ("done", 3, 3, 1)


@pytest.mark.parametrize("family", ["long", "json"])
def test_a_served_model_that_cannot_be_opened_fails_the_job_and_not_the_worker(
    engine: Engine, tmp_path: Path, family: Any
) -> None:
    # without a name the server is asked which model it has; with one, and a schema, whether the schema binds
    options = {"retries": 0, "timeout_s": 2.0, **({"model": "fake-model"} if family == "json" else {})}
    config = ProfilesConfig(backend="openai", domain="movies", family=family, chunk_users=2, options=options)
    lost = create_job(engine, "lost", config, snapshot(tmp_path / "lost", 4, 2))
    settings = LanguageModelSettings(openai_base_url=nowhere(), openai_api_key=SecretStr("key"))
    with RefreshWorker(engine, settings, QUICK) as someone:
        assert someone.work_on() == 0
        status = read_job(engine, lost)
        assert (status.status, status.chunks, status.users_done) == ("failed", {"failed": 2}, 0)
        reason = "did not report which model" if family == "long" else "cannot be reached"
        assert all(reason in letter.error for letter in dead_letters(engine, lost))
        # the same process goes on with what it can do
        job(engine, tmp_path / "next", 3, 3)
        assert someone.work_on() == 1


def test_options_that_no_worker_can_read_fail_the_job(engine: Engine, tmp_path: Path) -> None:
    config = ProfilesConfig(backend="openai", domain="movies", chunk_users=4, options={"modle": "typing error"})
    job_id = create_job(engine, "typo", config, snapshot(tmp_path / "typo", 4, 4))
    work(engine, nowhere())
    assert read_job(engine, job_id).status == "failed"
    assert "modle" in (read_job(engine, job_id).error or "")


def test_a_worker_until_done_waits_for_the_next_attempt(engine: Engine, tmp_path: Path) -> None:
    job_id = served_job(engine, tmp_path, 2, 2)
    settings = LanguageModelSettings(openai_base_url=nowhere(), openai_api_key=SecretStr("key"))
    with RefreshWorker(engine, settings, LeaseRules(beat_s=0.05, backoff_s=0.2)) as someone:
        assert someone.work_on() == 0
        assert read_job(engine, job_id).status in ("pending", "running")
        assert next_try_s(engine) is not None
        assert work_until_done(engine, someone) == 0
    assert read_job(engine, job_id).status == "failed"
    assert next_try_s(engine) is None


def test_nothing_to_retry_and_no_dead_letter_are_reported(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = job(engine, tmp_path, 3, 3)
    worker(engine)[0].work_on()
    assert retry(job_id).startswith("nothing to retry")
    show_dead(job_id)
    assert capsys.readouterr().out.strip() == f"refresh {job_id[:8]} has no dead letters"
    show_status(job_id, watch=False)
    show_status(job_id, watch=True)
    said = capsys.readouterr().out
    assert said.count("1 done") == 2
    assert said.endswith("┘\n")

"""A model's server that is away: asked again later, then told with its reason; nobody is written off for it."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from offline.profiles.config import ProfilesConfig
from offline.refresh.commands import _until_done, retry, show_dead, show_status
from offline.refresh.jobs import create_job, dead_letters
from offline.refresh.leases import LeaseRules, next_try_s
from offline.refresh.work import RefreshWorker
from shared.db.migrate import upgrade
from shared.db.session import open_database
from shared.refreshes import RefreshError, read_job
from shared.settings import LanguageModelSettings
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
def test_a_server_that_stays_away_ends_in_dead_letters_that_say_so(
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


def test_after_it_is_back_a_retry_asks_everybody(engine: Engine, tmp_path: Path) -> None:
    job_id = served_job(engine, tmp_path, 6, 3)
    work(engine, nowhere())
    assert retry(job_id) == "2 chunks are tried again by the next worker that looks"
    with serving(lambda _n, _body: completion()) as fake:
        work(engine, fake.url)
    assert len(fake.bodies) == 6
    assert (read_job(engine, job_id).status, read_job(engine, job_id).written) == ("done", 6)


def test_one_silence_is_asked_again_and_answers_are_kept(engine: Engine, tmp_path: Path) -> None:
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


def test_a_worker_until_done_waits_for_the_next_attempt(engine: Engine, tmp_path: Path) -> None:
    job_id = served_job(engine, tmp_path, 2, 2)
    settings = LanguageModelSettings(openai_base_url=nowhere(), openai_api_key=SecretStr("key"))
    with RefreshWorker(engine, settings, LeaseRules(beat_s=0.05, backoff_s=0.2)) as someone:
        assert someone.work_on() == 0
        assert read_job(engine, job_id).status in ("pending", "running")
        assert next_try_s(engine) is not None
        assert _until_done(engine, someone) == 0
    assert read_job(engine, job_id).status == "failed"
    assert next_try_s(engine) is None


def test_nothing_to_retry_and_nothing_dead_is_said(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = job(engine, tmp_path, 3, 3)
    worker(engine)[0].work_on()
    assert retry(job_id).startswith("nothing to try again")
    show_dead(job_id)
    assert capsys.readouterr().out.strip() == f"refresh {job_id[:8]} has no dead letters"
    show_status(job_id, watch=False)
    show_status(job_id, watch=True)
    said = capsys.readouterr().out
    assert said.count("1 done") == 2
    assert said.endswith("┘\n")

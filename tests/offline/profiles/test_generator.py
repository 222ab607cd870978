"""Profile generation: each profile is requested once, stored at once, and requested again only after a change."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from retort.offline.common.progress import Silent
from retort.offline.profiles import generator
from retort.offline.profiles.backends._base import Prompt, Reply
from retort.offline.profiles.backends._http import parse_completion
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.profiles.generator import profiles_table, write_profiles, write_profiles_table
from retort.offline.profiles.history import UserHistory
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileStore
from retort.shared.base.errors import ProfileError, RecipeError
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.models import FAILED, Profile
from retort.shared.db.session import open_database, reading
from tests.offline.profiles._fakes import GOOD, NO_SERVER, ScriptedBackend, catalogue, histories, sqlite_store
from tests.offline.profiles._server import completion, serving


def always_good(_: Prompt) -> str:
    return GOOD


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    return sqlite_store(tmp_path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, store: ProfileStore) -> Callable[..., tuple[ProfilesReport, ScriptedBackend]]:
    """Writes profiles with a scripted model."""

    def write(
        answer: Callable[[Prompt], Reply | str] = always_good,
        of: list[UserHistory] | None = None,
        context_tokens: int | None = None,
        **config: Any,
    ) -> tuple[ProfilesReport, ScriptedBackend]:
        backend = ScriptedBackend(answer, context_tokens)
        monkeypatch.setattr(generator, "open_backend", lambda *_: backend)
        wanted = ProfilesConfig(domain="movies", **config)
        report = write_profiles(of or histories(), catalogue(), wanted, store, NO_SERVER, Silent())
        assert backend.closed
        return report, backend

    return write


def test_every_profile_is_requested_once_and_a_rerun_requests_nothing(run: Any, store: ProfileStore) -> None:
    report, backend = run()
    assert (report.written, report.reused, len(backend.asked)) == (5, 0, 5)
    assert (report.prompt_tokens, report.completion_tokens, report.coverage) == (50, 25, 1.0)
    report, backend = run()
    assert (report.written, report.reused, backend.asked) == (0, 5, [])
    table = profiles_table(histories(), catalogue(), ProfilesConfig(domain="movies"), store, report)
    assert table.select("user_id", "aspect", "text").rows() == [(f"user-{n}", "whole", GOOD) for n in range(5)]


def test_only_changed_histories_are_requested_again(run: Any) -> None:
    run()
    grown = histories()
    grown[2] = UserHistory("user-2", [*grown[2].item_ids, "i0"], None)
    assert [run(of=grown)[0].written, run(of=grown)[0].written] == [1, 0]
    assert run(family="short")[0].written == 5
    assert run(temperature=0.0)[0].written == 5
    assert run(temperature=0.0)[0].written == 0
    assert run(language="ru", checks={"language": "any"})[0].written == 5


def test_users_without_known_items_get_no_profile(run: Any) -> None:
    report, backend = run(of=[*histories(2), UserHistory("empty", []), UserHistory("lost", ["gone", "gone"])])
    assert (report.written, report.without_history, report.unknown_events, len(backend.asked)) == (2, 2, 2, 2)


def test_bad_replies_are_retried_then_recorded_as_failed(run: Any, store: ProfileStore) -> None:
    def answer(prompt: Prompt) -> str:
        first = prompt.events[0].facts.title
        if first.startswith("Film 1:"):
            return "I'm sorry, I cannot do that."
        return GOOD if prompt.attempt == 1 or not first.startswith("Film 2:") else ""

    report, backend = run(answer)
    assert (report.written, report.failed, dict(report.problems)) == (4, 1, {"a refusal": 1})
    assert len(backend.asked) == 3 + 3 + 2  # three at once right, one three times wrong, one right the second time
    assert store.count(FAILED) == 1
    table = profiles_table(histories(), catalogue(), ProfilesConfig(domain="movies"), store, report)
    assert "user-1" not in table["user_id"].to_list()
    assert run(retry_failed=False)[0].failed == 1
    report, backend = run()
    assert (report.written, report.reused, len(backend.asked), store.count(FAILED)) == (1, 4, 1, 0)


def test_a_final_error_is_not_retried(run: Any) -> None:
    _, backend = run(lambda prompt: Reply("", error="500", final=True), max_failed=1.0)
    assert len(backend.asked) == 5


def test_model_that_answers_rubbish_stops_the_run_early(run: Any) -> None:
    with pytest.raises(ProfileError, match=r"scripted gave no usable profile in \d+ of \d+ cases .*empty"):
        run(lambda prompt: "", of=histories(200), chunk_users=50)


def test_killed_run_keeps_what_was_answered(run: Any, store: ProfileStore) -> None:
    answered = 0

    def answer(prompt: Prompt) -> str:
        nonlocal answered
        if answered == 7:
            raise KeyboardInterrupt
        answered += 1
        return GOOD

    with pytest.raises(KeyboardInterrupt):
        run(answer, of=histories(12))
    assert store.count() == 7
    report, backend = run(of=histories(12))
    assert (report.reused, report.written, len(backend.asked)) == (7, 5, 5)


@pytest.mark.parametrize("mode", ["agg_after", "agg_with"])
def test_history_longer_than_the_context(run: Any, mode: str) -> None:
    long = [UserHistory("u", [f"i{n % 12}" for n in range(200)], None)]
    report, backend = run(of=long, context_tokens=900, mode=mode, max_output_tokens=100)
    assert report.written == 1
    tasks = {prompt.task for prompt in backend.asked}
    assert tasks == ({"write", "merge"} if mode == "agg_after" else {"write", "update"})
    assert all(backend.count_tokens(prompt.messages) + 100 <= 900 for prompt in backend.asked)


def test_aspects_are_written_and_combined(run: Any, store: ProfileStore) -> None:
    report, backend = run(family="aspects")
    assert len(backend.asked) == 5 * 4
    config = ProfilesConfig(domain="movies", family="aspects")
    table = profiles_table(histories(), catalogue(), config, store, report)
    assert table["aspect"].to_list() == ["combined"] * 5
    assert table["text"].to_list() == [GOOD] * 5  # whole texts, not their first letters
    assert run(family="aspects")[1].asked == []
    config = ProfilesConfig(domain="movies", family="aspects", combine=False, aspects=("genres", "themes"))
    report, _ = run(family="aspects", combine=False, aspects=("genres", "themes"))
    table = profiles_table(histories(), catalogue(), config, store, report)
    assert sorted(table["aspect"].to_list()) == ["genres"] * 5 + ["themes"] * 5


def test_wrong_names_are_reported() -> None:
    with pytest.raises(ValidationError, match="choose one of: auto, imported, openai, template, vllm"):
        ProfilesConfig(backend="gpt")
    with pytest.raises(RecipeError, match=r"'plots'.*genres, periods, themes"):
        generator.prompt_writers(ProfilesConfig(domain="movies", family="aspects", aspects=("plots",)))


def test_whole_way_through_a_server_on_both_databases(database_url: str) -> None:
    upgrade(database_url)
    engine = open_database(database_url)
    with serving(lambda n, body: (429, "", {}) if n % 3 == 0 else completion()) as fake:
        settings = LanguageModelSettings(_env_file=None, openai_base_url=fake.url)  # type: ignore[call-arg]
        config = ProfilesConfig(domain="movies", options={"model": "m", "backoff_s": 0.001})
        for written in (5, 0):
            report = write_profiles(histories(), catalogue(), config, ProfileStore(engine), settings, Silent())
            assert (report.backend, report.model, report.written) == ("openai", "m", written)
        other = ProfileStore(engine, "another-tenant")
        assert (other.count(), ProfileStore(engine).count()) == (0, 5)
    assert not any("user-" in str(body) for body in fake.bodies)
    engine.dispose()


@pytest.mark.parametrize("family", ["long", "json"])
def test_one_reply_that_cannot_be_stored_does_not_end_the_run(
    family: Any, store: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(prompt: Prompt) -> Reply | str:
        if len(prompt.events) == 1:
            return Reply("", error="a refusal (\ud800\x00)", final=True)
        likes = {"likes": ["a\x00 b"], "dislikes": [], "habits": [], "recent": [], "summary": GOOD}
        return json.dumps(likes) if family == "json" else f"{GOOD} \ud800\x00"

    backend = ScriptedBackend(answer)
    monkeypatch.setattr(generator, "open_backend", lambda *_: backend)
    theirs = [*histories(2), UserHistory("short", ["i1"])]
    config = ProfilesConfig(family=family, domain="movies", attempts=1)
    report = write_profiles(theirs, catalogue(), config, store, NO_SERVER, Silent())
    texts = profiles_table(theirs, catalogue(), config, store, report)["text"].to_list()
    assert (report.written, report.failed) == (2, 1)
    assert all("\x00" not in text and "\ud800" not in text for text in texts)


def test_one_text_for_everybody_is_refused(tmp_path: Path) -> None:
    table = pl.DataFrame({"user_id": ["a", "b"], "aspect": "whole", "text": [GOOD, GOOD], "grounding": [None, 0.5]})
    with pytest.raises(ProfileError, match="all 2 profiles are the same text"):
        write_profiles_table(tmp_path / "profiles.parquet", ProfilesConfig(), [table])
    other = table.with_columns(text=pl.Series([GOOD, f"{GOOD} And trains."]))
    assert write_profiles_table(tmp_path / "profiles.parquet", ProfilesConfig(), [table, other]) == (4, 2)
    assert write_profiles_table(tmp_path / "profiles.parquet", ProfilesConfig(), [table[:1]]) == (1, 1)


def test_a_refused_text_is_kept_and_the_servers_words_are_reported(
    store: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = ScriptedBackend(lambda _: "Too short.")
    monkeypatch.setattr(generator, "open_backend", lambda *_: backend)
    config = ProfilesConfig(domain="movies", attempts=1, max_failed=1.0)
    report = write_profiles(histories(2), catalogue(), config, store, NO_SERVER, Silent())
    with reading(store._engine) as session:
        rows = session.execute(sa.select(Profile.status, Profile.text, Profile.parameters)).all()
    assert {(status, text, parameters["rejected_reply"]) for status, text, parameters in rows} == {
        (FAILED, None, "Too short.")
    }
    assert report.failed == 2
    words = "the server rejected the prompt (400: top_k is not supported)"
    backend = ScriptedBackend(lambda _: Reply("", error=words, final=True))
    with pytest.raises(ProfileError, match="400: top_k is not supported"):
        write_profiles(histories(2), catalogue(), ProfilesConfig(domain="movies"), store, NO_SERVER, Silent())


_UNCOUNTED = parse_completion(
    {"choices": [{"message": {"content": GOOD}}], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}, ""
)


@pytest.mark.parametrize(
    "reply",
    [Reply(GOOD), _UNCOUNTED, Reply(""), Reply("", error="a refusal (content filter)")],
    ids=["none", "zero", "empty", "refused"],
)
def test_a_budget_binds_where_the_server_counts_no_tokens(
    reply: Reply, store: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = ScriptedBackend(lambda _: reply)
    monkeypatch.setattr(generator, "open_backend", lambda *_: backend)
    config = ProfilesConfig(domain="movies", spending={"max_tokens": 300}, chunk_users=1)  # type: ignore[arg-type]
    with pytest.raises(ProfileError, match="max_tokens is 300"):
        write_profiles(histories(5), catalogue(), config, store, NO_SERVER, Silent())
    assert 1 <= len(backend.asked) < 5

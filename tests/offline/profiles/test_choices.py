"""A user's own decision about the profile survives refreshes, and a run stops at its budget."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from retort.offline.cli.main import app
from retort.offline.common.progress import Silent
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext
from retort.offline.profiles import generator
from retort.offline.profiles.backends._base import Reply
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.profiles.generator import profiles_table, write_profiles
from retort.offline.profiles.token_budget import BudgetSpentError, SpendingConfig
from retort.offline.recipes.recipe import load_recipe
from retort.shared.db.migrate import upgrade
from retort.shared.db.models import Profile
from retort.shared.db.session import open_database, reading
from retort.shared.profiles.profile_choices import (
    edit_profile,
    erase_profile,
    pin_profile,
    release_profile,
    view_profile,
)
from tests.offline.profiles._fakes import GOOD, NO_SERVER, ScriptedBackend, catalogue, histories, sqlite_store


def test_edited_pinned_and_erased_users_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = sqlite_store(tmp_path)

    def refresh(length: int) -> tuple[ScriptedBackend, dict[str, tuple[str, float]]]:
        backend = ScriptedBackend(lambda _: f"{GOOD} Written of {length}.")
        monkeypatch.setattr(generator, "open_backend", lambda *_: backend)
        config, theirs = ProfilesConfig(domain="movies"), histories(4, length)
        report = write_profiles(theirs, catalogue(), config, store, NO_SERVER, Silent())
        rows = profiles_table(theirs, catalogue(), config, store, report).rows()
        return backend, {user_id: (text, grounding) for user_id, _, text, grounding in rows}

    refresh(4)
    edit_profile(store._engine, "user-0", "I like trains.")
    pin_profile(store._engine, "user-1")
    erase_profile(store._engine, "user-2")
    backend, texts = refresh(6)
    assert len(backend.asked) == 1
    assert texts["user-0"] == ("I like trains.", 1.0)
    assert texts["user-1"] == (f"{GOOD} Written of 4.", 1.0)
    assert "user-2" not in texts
    assert texts["user-3"][0] == f"{GOOD} Written of 6."


@pytest.mark.parametrize(
    ("spending", "written"),
    [
        ({"max_tokens": 45}, 3),
        ({"usd_per_million_input": 1000, "usd_per_million_output": 2000, "max_usd": 0.039}, 2),
    ],
)
def test_a_run_stops_at_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spending: dict[str, Any], written: int
) -> None:
    store = sqlite_store(tmp_path)
    monkeypatch.setattr(generator, "open_backend", lambda *_: ScriptedBackend(lambda _: GOOD))
    config = ProfilesConfig(domain="movies", spending=spending)
    with pytest.raises(BudgetSpentError, match="are kept"):
        write_profiles(histories(9), catalogue(), config, store, NO_SERVER, Silent())
    assert store.count() == written


def test_a_limit_in_money_wants_prices() -> None:
    with pytest.raises(ValueError, match="max_usd requires"):
        ProfilesConfig(spending={"max_usd": 1.0})


def test_a_choice_makes_the_profiles_step_due_again(tmp_path: Path) -> None:
    database_url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(database_url)
    engine = open_database(database_url)
    recipe = load_recipe("demo")

    def asked() -> dict[str, Any]:
        context = RunContext(recipe, None, engine, NO_SERVER, Silent())
        return dict(make_pipeline(context, tmp_path / "runs").steps["profiles"].config)

    before = asked()
    edit_profile(engine, "ann", "I like trains.")
    edited = asked()
    assert edited != before
    edit_profile(engine, "ann", "I like trains.")
    assert asked() == edited, "the same choice made again changes nothing"
    release_profile(engine, "ann")
    assert asked() == before
    engine.dispose()


def test_cached_prompt_tokens_have_their_own_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = sqlite_store(tmp_path)
    reply = Reply(GOOD, 1000, 100, cached_tokens=800)
    monkeypatch.setattr(generator, "open_backend", lambda *_: ScriptedBackend(lambda _: reply))
    prices = {"usd_per_million_input": 1000, "usd_per_million_output": 1000, "usd_per_million_cached_input": 100}
    config = ProfilesConfig(domain="movies", spending={**prices, "max_usd": 0.75})  # type: ignore[arg-type]
    with pytest.raises(BudgetSpentError, match=r"\$0.76 are spent"):  # each 0.2 + 0.08 + 0.1
        write_profiles(histories(9), catalogue(), config, store, NO_SERVER, Silent())
    with reading(store._engine) as session:
        assert session.scalars(sa.select(Profile.cost_usd)).all() == pytest.approx([0.38, 0.38])
    free = SpendingConfig(usd_per_million_input=2, usd_per_million_output=0, usd_per_million_cached_input=0)
    assert free.cost_usd(1_000_000, 0, 250_000) == 1.5
    assert SpendingConfig(usd_per_million_input=2, usd_per_million_output=0).cost_usd(1_000_000, 0, 250_000) == 2.0


def test_a_report_counts_cached_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = Reply(GOOD, 1000, 100, cached_tokens=800)
    monkeypatch.setattr(generator, "open_backend", lambda *_: ScriptedBackend(lambda _: reply))
    store = sqlite_store(tmp_path)
    report = write_profiles(histories(2), catalogue(), ProfilesConfig(domain="movies"), store, NO_SERVER, Silent())
    assert report.cached_tokens == 1600
    assert "1,600 of them read from the server's cache" in report.line()


def test_refused_replies_are_shown_apart_from_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = sqlite_store(tmp_path)
    monkeypatch.setattr(generator, "open_backend", lambda *_: ScriptedBackend(lambda _: "Too short."))
    config = ProfilesConfig(domain="movies", attempts=1, max_failed=1.0)
    write_profiles(histories(1), catalogue(), config, store, NO_SERVER, Silent())
    view = view_profile(store._engine, "user-0")
    assert (view.text, view.versions) == (None, ())
    assert [(refusal.text, refusal.aspect) for refusal in view.refusals] == [("Too short.", "whole")]
    monkeypatch.setenv("DATABASE_URL", store._engine.url.render_as_string(hide_password=False))
    shown = CliRunner().invoke(app, ["profiles", "show", "user-0"])
    assert shown.exit_code == 0, shown.output
    assert "refused: " in shown.output
    assert "Too short." in shown.output

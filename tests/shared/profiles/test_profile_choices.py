"""People see, edit, pin and erase their own profile, on both databases."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from retort.shared.base.errors import ProfileError
from retort.shared.db.migrate import upgrade
from retort.shared.db.models import Profile
from retort.shared.db.session import open_database, transaction
from retort.shared.profiles.profile_choices import (
    edit_profile,
    erase_profile,
    find_choices,
    pin_profile,
    release_profile,
    view_profile,
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    upgrade(database_url)
    engine = open_database(database_url)
    with transaction(engine) as session:
        for number in range(2):
            session.add(
                Profile(
                    user_id="u",
                    aspect="whole",
                    history_hash=str(number),
                    prompt_version="p",
                    model="m",
                    text=f"version {number}",
                    status="done",
                    n_events=number,
                )
            )
            session.flush()
    yield engine
    engine.dispose()


def test_the_latest_version_is_in_force_until_a_person_decides(engine: Engine) -> None:
    view = view_profile(engine, "u")
    assert (view.text, view.choice, [one.text for one in view.versions]) == (
        "version 1",
        None,
        ["version 1", "version 0"],
    )
    edit_profile(engine, "u", "  my own words ", set_by="admin")
    view = view_profile(engine, "u")
    assert view.choice is not None
    assert (view.text, view.choice.kind, view.choice.set_by) == ("my own words", "edited", "admin")
    assert len(view.versions) == 2
    assert release_profile(engine, "u")
    assert not release_profile(engine, "u")
    assert view_profile(engine, "u").text == "version 1"


def test_a_pin_keeps_what_is_in_force(engine: Engine) -> None:
    assert pin_profile(engine, "u").text == "version 1"
    with pytest.raises(ProfileError, match="no profile to pin"):
        pin_profile(engine, "stranger")


def test_erasing_deletes_every_version_and_stands(engine: Engine) -> None:
    assert erase_profile(engine, "u") == 2
    view = view_profile(engine, "u")
    assert (view.text, view.versions) == (None, ())
    assert find_choices(engine, ["u", "v"])["u"].kind == "erased"
    assert find_choices(engine, ["u"], tenant="other") == {}


@pytest.mark.parametrize("text", ["  ", "x" * 12_001])
def test_an_edit_must_be_a_text(engine: Engine, text: str) -> None:
    with pytest.raises(ProfileError):
        edit_profile(engine, "u", text)

"""What a run needs from elsewhere is looked for before anything is trained."""

from pathlib import Path
from typing import Any

import pytest

from retort.offline.embeddings import text_model
from retort.offline.pipeline import preflight
from retort.offline.pipeline.preflight import check_needs
from retort.shared.base.errors import ProfileError, TeacherError
from tests.offline.teachers.test_lists_step import load_pipeline

TEXT_START = "objectives=[{name='text_start'}]"


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    asked: list[list[str]] = []

    def is_cached(names: list[str], revision: str | None) -> bool:
        asked.append(list(names))
        raise OSError("it is not on this machine, and the hub does not answer")

    monkeypatch.setattr(text_model, "is_cached", is_cached)
    monkeypatch.setattr(preflight, "is_cached", is_cached)
    return asked


def test_an_encoder_that_is_not_to_be_had_is_found_before_any_training(tmp_path: Path) -> None:
    arms = [
        load_pipeline(tmp_path, *knobs, "encoder.model=org/e5-large") for knobs in (["objectives=[]"], [TEXT_START])
    ]
    with pytest.raises(ProfileError, match=r"org/e5-large.*cannot be loaded"):
        check_needs(arms)
    assert not (tmp_path / "steps").exists()


def test_what_a_run_does_not_need_is_not_looked_for(tmp_path: Path, no_hub: list[list[str]]) -> None:
    check_needs([load_pipeline(tmp_path, "objectives=[]", "encoder.model=org/e5-large")])
    check_needs([load_pipeline(tmp_path, TEXT_START, "encoder.model=packaged-minilm + tfidf")])
    assert no_hub == []


def test_a_step_that_ran_before_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = load_pipeline(tmp_path, TEXT_START)
    pipeline.ensure("items")
    monkeypatch.setattr(preflight, "check_encoder", lambda _, models: looked_for.extend(models))
    looked_for: list[str] = []
    check_needs([pipeline])
    assert looked_for == []


def test_the_models_of_views_are_looked_for(tmp_path: Path) -> None:
    views = "encoder.views=[{text='title', model='org/e5-large'}, {text='title', model='tfidf'}]"
    with pytest.raises(ProfileError, match=r"org/e5-large.*cannot be loaded"):
        check_needs([load_pipeline(tmp_path, TEXT_START, views)])


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        (("objectives=[{name='ranking', weight=0.1}]", "teacher.lists=item_head"), "item_head.*not to be had"),
        (("objectives=[{name='profile'}]", "teacher.users=file", "teacher.users_path=none.parquet"), "users_path"),
        ((TEXT_START, "teacher.items=file", "teacher.items_path=none.parquet"), "items_path"),
        (("objectives=[{name='mutual'}]", "teacher.lists=file", "teacher.lists_path=none"), "lists_path"),
    ],
)
def test_models_and_files_of_the_teacher_are_looked_for(tmp_path: Path, knobs: Any, words: str) -> None:
    with pytest.raises(TeacherError, match=words):
        check_needs([load_pipeline(tmp_path / "out", *knobs, data=tmp_path)])

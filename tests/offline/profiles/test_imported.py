"""Imported profiles: joined by id, files of other users are rejected, every bad line is reported."""

import json
from pathlib import Path
from typing import Any

import pytest

from retort.offline.common.progress import Silent
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.profiles.generator import profiles_table, write_profiles
from retort.offline.profiles.history import UserHistory
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileStore
from retort.shared.base.errors import ProfileError, RecipeError
from tests.offline.profiles._fakes import GOOD, NO_SERVER, catalogue, sqlite_store

# as in the MovieLens files: whole numbers for ids, a flag beside them
ROWS = [{"user_id": n, "profile": f"{GOOD} Number {n}.", "model": "gpt-4o-mini", "clean": True} for n in range(1, 61)]
HISTORIES = [UserHistory(str(n), ["i1", "i2"]) for n in range(1, 61)]


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    return sqlite_store(tmp_path)


def imported(
    folder: Path, store: ProfileStore, rows: list[Any], histories: list[UserHistory] = HISTORIES, **options: Any
) -> tuple[ProfilesReport, list[tuple[str, str, str]]]:
    path = folder / "profiles.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in rows), encoding="utf-8")
    config = ProfilesConfig(backend="imported", options={"path": str(path), **options})
    report = write_profiles(histories, catalogue(), config, store, NO_SERVER, Silent())
    return report, profiles_table(histories, catalogue(), config, store, report).select(
        "user_id", "aspect", "text"
    ).rows()


def test_ids_are_joined_whatever_the_order(tmp_path: Path, store: ProfileStore) -> None:
    report, table = imported(tmp_path, store, ROWS[::-1])
    assert table == [(str(row["user_id"]), "whole", row["profile"]) for row in ROWS]
    assert (report.written, report.failed, report.coverage, report.model) == (60, 0, 1.0, "gpt-4o-mini")


def test_partial_coverage_is_reported(tmp_path: Path, store: ProfileStore) -> None:
    rows = [*ROWS[:30], {"user_id": "stranger", "profile": GOOD}, {"user_id": 31, "profile": ""}]
    report, table = imported(tmp_path, store, rows)
    assert (report.written, report.failed, report.not_ours, len(table)) == (30, 30, 1, 30)
    assert dict(report.problems) == {"empty": 1, "no line in the file": 29}
    assert report.coverage == 0.5
    with pytest.raises(ProfileError, match=r"covers 51.7% of the users.*min_coverage"):
        imported(tmp_path, store, rows, min_coverage=0.9)


def test_several_models_in_one_file(tmp_path: Path, store: ProfileStore) -> None:
    report, table = imported(tmp_path, store, [{**row, "model": f"m{at % 2}"} for at, row in enumerate(ROWS)])
    assert (report.model, len(table)) == ("m0, m1", 60)


def test_profiles_of_other_users_are_refused(tmp_path: Path, store: ProfileStore) -> None:
    with pytest.raises(ProfileError, match=r"profiles of other users.*'1'.*'user-a'"):
        imported(tmp_path, store, ROWS, [UserHistory("user-a", ["i1"])])
    assert store.count() == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"user_id": 1, "profile": GOOD}, r"line 61: user_id '1' is already in line 1"),
        ('{"user_id": 70, "prof', r"line 61 is not JSON"),
        ([1, 2], r"line 61 is not a JSON object"),
        ({"profile": GOOD}, r"line 61: user_id is None"),
        ({"user_id": 1.5, "profile": GOOD}, r"line 61: user_id is 1.5"),
        ({"user_id": 70}, r"line 61: profile is None"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, store: ProfileStore, line: Any, told: str) -> None:
    with pytest.raises(ProfileError, match=told):
        imported(tmp_path, store, [*ROWS, line])
    assert store.count() == 0


def test_file_of_rubbish_is_refused(tmp_path: Path, store: ProfileStore) -> None:
    with pytest.raises(ProfileError, match="60 of 60 profiles are unusable"):
        imported(tmp_path, store, [{**row, "profile": "?"} for row in ROWS])


def test_missing_and_empty_files_are_reported(tmp_path: Path, store: ProfileStore) -> None:
    with pytest.raises(ProfileError, match="contains no profile"):
        imported(tmp_path, store, [])
    for options, error in (({"path": str(tmp_path / "no.jsonl")}, ProfileError), ({}, RecipeError)):
        config = ProfilesConfig(backend="imported", options=options)
        with pytest.raises(error, match="path"):
            write_profiles(HISTORIES, catalogue(), config, store, NO_SERVER, Silent())


def test_thoughts_are_cut(tmp_path: Path, store: ProfileStore) -> None:
    rows = [{**ROWS[0], "profile": f"<think>Many comedies.</think>{GOOD}<|im_end|>"}, *ROWS[1:]]
    report, table = imported(tmp_path, store, rows)
    assert (report.failed, table[0][2]) == (0, GOOD)


def test_texts_are_cleaned_and_ids_are_refused(tmp_path: Path, store: ProfileStore) -> None:
    rows = [{**ROWS[0], "profile": f"{GOOD} \ud800\x00 End."}, *ROWS[1:]]
    _, table = imported(tmp_path, store, rows)
    assert table[0][2] == f"{GOOD} \ufffd End."
    for user_id in ("1\x00", "1\n", "\ud800"):
        with pytest.raises(ProfileError, match=r"line 1: user_id .* has the .* U\+[0-9A-F]{4} at position"):
            imported(tmp_path, store, [{**ROWS[0], "user_id": user_id}, *ROWS[1:]])

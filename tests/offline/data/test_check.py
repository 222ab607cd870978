"""The data check reports all problems at once and never raises for faulty data."""

from pathlib import Path

from retort.offline.data.check import find_problems
from retort.offline.data.load import DataConfig
from tests.offline.data.test_load import EVENTS, ITEMS, OPTIONS, write


def test_clean_data_have_no_errors(tmp_path: Path) -> None:
    write(tmp_path, ["u,a,1,", "v,b,1,"], ITEMS[:2])
    assert find_problems(DataConfig(options=OPTIONS), tmp_path) == []


def test_every_finding_names_its_place(tmp_path: Path) -> None:
    write(tmp_path, [*EVENTS, ",a,1,", "w,a,soon,", "w,q,1,"], [*ITEMS, "b,Other,,"])
    (tmp_path / "users.csv").write_text("user_id\nu\nidle\n")
    found = find_problems(DataConfig(options={**OPTIONS, "users": "users.csv"}), tmp_path)
    assert [one.severity for one in found] == sorted(
        (one.severity for one in found), key=["error", "warning", "note"].index
    )
    assert "more than [data] max_reject_share" in found[0].message
    places = {(one.file, one.row, one.column) for one in found if one.severity == "warning"}
    assert places == {("interactions.csv", 8, "user_id"), ("interactions.csv", 9, "at"), ("items.csv", 5, "item_id")}
    told = "\n".join(map(str, found))
    assert "interactions.csv, row 9, column 'at', value 'soon': not a whole number ≥ 0" in told
    assert "1 items have events but no metadata, like q" in told
    assert "1 users of the users' table have no event" in told
    assert "2 users have events but no row in the users' table" in told
    assert "1 events are repeats" in told


def test_what_stops_the_reading_is_a_finding(tmp_path: Path) -> None:
    assert [one.severity for one in find_problems(DataConfig(), tmp_path / "nowhere")] == ["error"]
    write(tmp_path, ["u,a,1600000000,", "u,a,1600000000000,"])
    (one,) = find_problems(DataConfig(options={"timestamp": "at"}), tmp_path)
    assert one.severity == "error"
    assert "mixes units" in one.message


def test_items_without_text_are_noted(tmp_path: Path) -> None:
    write(tmp_path, items=["a,,,", "b,Beta,,"])
    assert [
        "1 items have metadata but no text" in str(one) for one in find_problems(DataConfig(options=OPTIONS), tmp_path)
    ].count(True) == 1
    assert any(
        "no table of items" in str(one) for one in find_problems(DataConfig(options={"position": "at"}), tmp_path)
    )

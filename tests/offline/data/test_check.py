"""The data check reports all problems at once and never raises for faulty data."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from retort.offline.cli.main import app
from retort.offline.common.progress import Silent
from retort.offline.data.check import count_sentence, find_problems, summarise
from retort.offline.data.load import DataConfig, load_data
from retort.shared.base.errors import DataError
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


def test_what_was_found_before_an_error_stays(tmp_path: Path) -> None:
    rows = [f"u{n},a,1," for n in range(9)] + [",a,1,"]
    write(tmp_path, rows, ["zz,Zeta,,"])
    found = find_problems(DataConfig(options=OPTIONS), tmp_path)
    errors = [one.message for one in found if one.severity == "error"]
    assert len(errors) == 2
    assert "max_reject_share" in errors[0]
    assert "none of the 1 items" in errors[1]


def test_many_faults_are_ten_lines_at_most(tmp_path: Path) -> None:
    write(tmp_path, ["u,a,1,", *(f"u,a,soon{n}," for n in range(1708)), "v", ",a,1,"], ITEMS)
    found = find_problems(DataConfig(options=OPTIONS), tmp_path)
    lines = summarise(found, 10)
    assert len(lines) <= 10
    assert any("value 'soon0': not a whole number ≥ 0 (and 1,707 rows more)" in line for line in lines)
    assert len(summarise(found, 2)) == 2
    assert count_sentence(found).startswith("1 error, 1710 warnings")


def test_findings_name_the_file_s_own_columns(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("who,sku\nu,a\nv,q\n")
    (tmp_path / "items.csv").write_text("sku,title\na,\n")
    options = {"items": "items.csv", "user_id": "who", "item_id": "sku"}
    found = find_problems(DataConfig(options=options), tmp_path)
    assert {one.column for one in found} == {"sku"}


def test_notes_alone_are_a_clean_state(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[data]\nsource = "table"\n')
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\nv,b\n")
    result = CliRunner().invoke(app, ["data", "check", str(recipe), "--data", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "no errors, no warnings, 1 note" in result.stderr
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\nv,\n")
    assert CliRunner().invoke(app, ["data", "check", str(recipe), "--data", str(tmp_path)]).exit_code == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id;item_id\nu;a\n", r'separated by ";": set separator = ";"'),
        ("user_id\titem_id\nu\ta\n", r'separated by "\\t": set separator = "\\t"'),
        ("user_id|item_id|a,b\nu|a|c\n", r'separated by "\|"'),
        ("u1,i5,2021-03-01\nu2,i6,2021-03-02\n", "first row looks like data"),
        ("User_ID,item_id\nu,a\n", "Write 'User_ID' in"),
    ],
)
def test_a_wrong_header_names_its_cause(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        load_data(DataConfig(), tmp_path, Silent())


def test_repeats_and_large_users_are_noted_with_a_recommendation(tmp_path: Path) -> None:
    rows = [f"u{n},i{n + part % 6}" for n in range(60) for part in range(12)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id", *rows]) + "\n")
    found = "\n".join(map(str, find_problems(DataConfig(repeats="keep"), tmp_path)))
    assert "100% of the users' last events are items that they already had" in found
    assert "hide_seen = false" in found
    few = find_problems(DataConfig(repeats="first"), tmp_path)
    assert not any("already had" in one.message for one in few)
    rows += [f"robot{n},i{part}" for n in range(3) for part in range(70)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id", *rows]) + "\n")
    found = "\n".join(map(str, find_problems(DataConfig(repeats="keep"), tmp_path)))
    assert "3 users have 23% of the events" in found
    capped = load_data(DataConfig(repeats="keep", max_user_events=20), tmp_path, Silent())
    counts = dict(capped.interactions.frame["user_id"].value_counts().iter_rows())
    assert (counts["robot0"], counts["u0"]) == (20, 12)
    newest = capped.interactions.frame.filter(user_id="robot0")["item_id"].to_list()
    assert newest == [f"i{part}" for part in range(50, 70)]
    assert capped.report.removed.over_max_user_events == 150


def test_users_with_too_many_events_on_a_day_are_left_out_as_robots(tmp_path: Path) -> None:
    rows = [f"u{n},i{part},2025-01-{part + 1:02}" for n in range(5) for part in range(8)]
    rows += [f"robot,i{part % 8},2025-01-03 00:{part // 60:02}:{part % 60:02}" for part in range(90)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,at", *rows]) + "\n")
    config = DataConfig(options={"timestamp": "at"}, max_day_events=50)
    loaded = load_data(config, tmp_path, Silent())
    assert "robot" not in set(loaded.interactions.frame["user_id"])
    assert (loaded.report.removed.robots, loaded.report.removed.robot_users) == (90, 1)
    assert any("90 events are of 1 users with more" in one.message for one in find_problems(config, tmp_path))

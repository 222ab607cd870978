"""`retort import`: exports of four systems become recipes that read them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from retort.offline.cli.main import app
from retort.offline.common.progress import Silent
from retort.offline.data.load import load_data
from retort.offline.quickstart.exports import find_export
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.errors import DataError

_USERS, _ITEMS = range(1, 13), range(1, 9)
_FILES: dict[str, dict[str, tuple[str, str]]] = {
    # system → file → header, row
    "gorse": {
        "feedback.csv": (
            "feedback_type,user_id,item_id,value,timestamp,comment\n",
            "read,u{u},i{i},1,2024-03-0{d} 10:00:00 +0000 UTC,\n",
        ),
        "items.csv": (
            "item_id,is_hidden,categories,timestamp,labels,description\n",
            'i{i},false,books|novels,2024-01-01 00:00:00 +0000 UTC,"{{""a"":1}}",A story of number {i}\n',
        ),
    },
    "movielens": {
        "ratings.csv": ("userId,movieId,rating,timestamp\n", "{u},{i},{d}.5,17{u:02}00000{d}\n"),
        "movies.csv": ("movieId,title,genres\n", "{i},Film {i} (199{i}),Drama|Comedy\n"),
    },
    "recbole": {
        "shop.inter": ("user_id:token\titem_id:token\ttimestamp:float\n", "{u}\t{i}\t17{u:02}00000{d}\n"),
        "shop.item": ("item_id:token\ttitle:token_seq\n", "{i}\tThing number {i}\n"),
    },
    "personalize": {
        "interactions.csv": ("USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\n", "u{u},i{i},17{u:02}00000{d},click\n"),
        "items.csv": ("ITEM_ID,TITLE,GENRES\n", "i{i},Thing number {i},Drama|Comedy\n"),
    },
}


def write(system: str, path: Path) -> None:
    for name, (header, row) in _FILES[system].items():
        pairs = [(u, (u + d) % 8 + 1, d) for u in _USERS for d in range(1, 6)]
        is_items = "movie" in name or "item" in name
        rows = (
            [row.format(i=i, u=1, d=1) for i in _ITEMS]
            if is_items
            else [row.format(u=u, i=i, d=d) for u, i, d in pairs]
        )
        (path / name).write_text(header + "".join(rows))


@pytest.mark.parametrize("system", list(_FILES))
def test_an_export_becomes_a_recipe_that_reads_it(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export").mkdir()
    write(system, tmp_path / "export")
    done = CliRunner().invoke(app, ["import", system, "export"])
    assert done.exit_code == 0, done.output
    assert "retort quickstart export/" in done.output
    loaded = load_data(load_recipe("shop.toml").data, tmp_path / "export", Silent())
    assert (loaded.report.users, loaded.report.items, loaded.report.interactions) == (12, 8, 60)
    assert loaded.report.items_with_title == 8
    assert loaded.interactions.clock == "time"
    again = CliRunner().invoke(app, ["import", system, "export"])
    assert "shop.toml exists" in str(again.exception)


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="known are: gorse"):
        find_export("lightfm", tmp_path)
    with pytest.raises(DataError, match=r"holds none of ratings\.csv"):
        find_export("movielens", tmp_path)
    for name in ("a.inter", "b.inter"):
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match="several files that fit"):
        find_export("recbole", tmp_path)

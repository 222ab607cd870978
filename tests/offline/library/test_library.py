"""The Python library: README's own lines, frames of three libraries, a saved model, a server."""

import errno
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import polars as pl
import pytest

import retort
from retort.shared.base.disk import DiskFullError
from retort.shared.base.errors import BundleError, DataError, RecipeError
from tests.two_tastes import write_files

_README = Path(__file__).parents[3] / "README.md"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with the two files, in which everything runs."""
    path = tmp_path_factory.mktemp("library")
    write_files(path)
    (path / "log.csv").rename(path / "events.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("RETORT_HOME", str(path / ".retort"))
        patch.delenv("REDIS_URL", raising=False)
        patch.delenv("DATABASE_URL", raising=False)
        yield path


@pytest.fixture(scope="module")
def model(home: Path) -> "retort.Model":
    return retort.fit(retort.read("events.csv", "items.csv"), minutes=5, settings={"training.epochs": 8}, quiet=True)


def test_the_lines_of_the_readme_run(home: Path, model: "retort.Model", capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", _README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) == 1
    names: dict[str, object] = {}
    short = code[0].replace("minutes=5", 'minutes=5, settings={"training.epochs": 8}, quiet=True')
    exec(compile(short, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "popularity" in printed
    assert "c42" in printed
    assert (home / "shop-model" / "bundle" / "manifest.json").is_file()


def test_recommendations_have_titles_and_leave_out_the_history(model: "retort.Model") -> None:
    got = model.recommend(["c3", "c4", "a stranger"], k=4)
    assert got["user_id"].to_list() == ["c3"] * 4 + ["c4"] * 4 + ["a stranger"] * 4
    assert got["source"].to_list() == ["student"] * 8 + ["popular"] * 4
    assert got["rank"].to_list() == [1, 2, 3, 4] * 3
    assert all(title for title in got["title"])
    history = dict(model.histories.iter_rows())["c3"]
    own = model.recommend(histories={"c3": list(history)}, k=4)
    assert own["item_id"].to_list() == got["item_id"].to_list()[:4]
    assert model.recommend([" c3"], k=4).drop("score").equals(got.head(4).drop("score"))
    spelled = model.recommend(histories={"7.0": [f" {item}" for item in history]}, k=4)
    assert spelled["item_id"].to_list() == own["item_id"].to_list()
    assert set(spelled["user_id"]) == {"7"}, "ids are read as in training data"


def test_users_of_a_taste_get_items_of_their_taste(model: "retort.Model") -> None:
    got = model.recommend([f"c{number}" for number in range(120)], k=5)
    is_odd, is_tool = pl.col("user_id").str.slice(1).cast(pl.Int64) % 2 == 1, pl.col("title").str.contains("tool")
    assert got.select((is_odd == is_tool).mean()).item() > 0.9


def test_similar_items_are_of_the_same_kind(model: "retort.Model") -> None:
    near = model.similar("A3", k=5)
    assert near.columns == ["item_id", "title", "cosine"]
    assert "A3" not in near["item_id"].to_list()
    assert near["title"].str.contains("Jazz").all()
    with pytest.raises(DataError, match="has no item 'A999'"):
        model.similar("A999")


def test_the_evaluation_compares_both_students_with_popularity(model: "retort.Model") -> None:
    frame = model.evaluate()
    assert frame["model"].to_list() == ["popularity", "plain", "with texts"]
    assert frame["chosen"].sum() == 1
    assert "%" in frame["ndcg@10 compared with plain"].to_list()[2]


def test_the_gain_is_shown_by_group(model: "retort.Model") -> None:
    frame = model.evaluate(by="target_popularity")
    assert frame.columns == ["target_popularity", "cases", "gain, %", "low", "high"]
    assert sum(int(cases) for cases in frame["cases"]) <= 120
    assert (frame["low"] <= frame["gain, %"]).all()
    with pytest.raises(DataError, match="is no grouping"):
        model.evaluate(by="weekday")  # type: ignore[arg-type]


def test_a_saved_model_recommends_the_same(model: "retort.Model", tmp_path: Path) -> None:
    path = model.save(tmp_path / "saved")
    loaded = retort.load(path)
    assert loaded.recommend(["c1", "c2"]).equals(model.recommend(["c1", "c2"]))
    assert loaded.evaluate().equals(model.evaluate())
    with pytest.raises(BundleError, match="name a new directory"):
        model.save(path)


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_frames_of_three_libraries_are_recognised_as_the_file_is(kind: str, home: Path) -> None:
    frame = pl.read_csv("events.csv", separator=";")
    given = {"pandas": frame.to_pandas, "polars": lambda: frame, "arrow": frame.to_arrow}[kind]()
    data = retort.read(given, pl.read_csv("items.csv", separator=";"))
    columns = data.recognised.columns
    assert (columns.user.column, columns.item.column, columns.time and columns.time.column) == ("customer", "sku", "at")
    assert "title 'title'" in str(data)


def test_something_that_is_no_frame_is_refused(home: Path) -> None:
    with pytest.raises(DataError, match="give a path, or a frame"):
        retort.read([("u", "i")])
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        retort.fitt  # noqa: B018


def test_a_server_answers_as_the_model_does(model: "retort.Model") -> None:
    with model.serve() as server:
        body = httpx.get(f"{server.url}/recommend", params={"user_id": "c5", "k": 5}, timeout=30).json()
        url = server.url
    assert body["source"] == "student"
    assert [item["item_id"] for item in body["items"]] == model.recommend(["c5"], k=5)["item_id"].to_list()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health/live", timeout=5)


def test_the_import_stays_light() -> None:
    heavy = "('torch', 'polars', 'numpy')"
    code = f"import sys, retort; assert retort.__version__; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("histories.parquet", b"no Parquet"),
        ("histories.parquet", None),
        ("evaluation.json", b"{"),
        ("evaluation.json", b"[]"),
        ("evaluation.json", b'{"ranks": {}}'),
        ("bundle/model.onnx", b"no graph"),
    ],
)
def test_a_damaged_model_is_one_sentence(
    model: "retort.Model", tmp_path: Path, file: str, content: bytes | None
) -> None:
    saved = model.save(tmp_path / "saved")
    (saved / file).unlink()
    if content is not None:
        (saved / file).write_bytes(content)
    with pytest.raises(BundleError):
        retort.load(saved)


def test_a_model_that_cannot_be_written_leaves_nothing(
    model: "retort.Model", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(DiskFullError, match="free some space"):
        model.save(tmp_path / "saved")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("minutes", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_time_budget_that_is_none_is_refused_before_any_work(minutes: float) -> None:
    with pytest.raises(RecipeError, match=r"is no time budget; choose 0\.2 to"):
        retort.fit(cast(Any, None), minutes=minutes, quiet=True)

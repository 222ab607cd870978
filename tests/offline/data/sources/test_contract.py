"""Contract of every source, applied to all modules of offline/data/sources by discovery."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from retort.offline.common.plugins import load_plugin, plugin_names
from retort.offline.common.progress import Silent
from retort.offline.common.section import Section
from retort.offline.data.load import SOURCES, DataConfig, load_data
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables
from retort.shared.base.errors import DataError, RecipeError
from tests.offline.data.sources import _samples

NAMES = plugin_names(SOURCES)
MADE_UP = ("synthetic",)


@pytest.fixture(params=NAMES)
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(source: str, root: Path) -> dict[str, Any]:
    options: dict[str, Any] = getattr(_samples, f"write_{source}")(root)
    return options


def read(source: str, root: Path, options: dict[str, Any]) -> tuple[RawTables, Rejects]:
    module, rejects = load_plugin(SOURCES, source), Rejects()
    return module.read(module.Config(**options), root, rejects, Silent()), rejects


def test_config_is_a_section_that_refuses_unknown_keys(source: str) -> None:
    assert issubclass(load_plugin(SOURCES, source).Config, Section)
    with pytest.raises(RecipeError, match="nonsense"):
        load_data(DataConfig(source=source, options={"nonsense": 1}), None, Silent())


def test_tables_have_our_names_and_numbered_rows(source: str, tmp_path: Path) -> None:
    tables, rejects = read(source, tmp_path, write(source, tmp_path))
    kinds = {"user_id": tables.interactions + tables.users, "item_id": tables.interactions + tables.items}
    for column, some in kinds.items():
        for one in some:
            assert isinstance(one, RawTable)
            frame = one.frame.select("row", column).collect()
            assert frame.height > 0
            assert frame["row"].min() >= 1  # type: ignore[operator]
    assert all("timestamp" in one.frame.collect_schema() for one in tables.interactions)
    assert len(rejects) == 0


def test_loads_to_checked_tables(source: str, tmp_path: Path) -> None:
    loaded = load_data(DataConfig(source=source, options=write(source, tmp_path)), tmp_path, Silent())
    frame, items = loaded.interactions.frame, loaded.items.frame
    assert frame.schema == {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "weight": pl.Float32}
    assert frame.equals(frame.sort("user_id", "timestamp", maintain_order=True))
    assert items["item_id"].is_unique().all()
    assert set(frame["item_id"]) == set(items["item_id"])
    assert (items["title"] != "").all()
    assert (items["text"] != "").all()
    assert loaded.report.text_coverage == 1.0
    assert loaded.rejects.height == 0


@pytest.mark.parametrize("source", [name for name in NAMES if name not in MADE_UP])
def test_sample_is_read_in_order(source: str, tmp_path: Path) -> None:
    loaded = load_data(DataConfig(source=source, options=write(source, tmp_path)), tmp_path, Silent())
    histories = loaded.interactions.frame.group_by("user_id", maintain_order=True).agg("item_id")
    assert histories["item_id"].to_list() == [["a1", "b2", "c3"], ["b2", "a1"]]
    assert loaded.interactions.clock == ("position" if source == "amazon_m2" else "time")


def test_reading_twice_gives_the_same_hash(source: str, tmp_path: Path) -> None:
    config = DataConfig(source=source, options=write(source, tmp_path))
    assert (
        load_data(config, tmp_path, Silent()).report.data_hash == load_data(config, tmp_path, Silent()).report.data_hash
    )


@pytest.mark.parametrize("source", [name for name in NAMES if name not in MADE_UP])
@pytest.mark.parametrize("root", ["empty", "missing", None])
def test_missing_files_end_in_one_sentence(source: str, root: str | None, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"(contains none of|should contain|no file|does not exist|--data)"):
        load_data(DataConfig(source=source), tmp_path / root if root else None, Silent())


@pytest.mark.parametrize("source", [name for name in NAMES if name not in MADE_UP])
def test_empty_event_file_ends_in_one_sentence(source: str, tmp_path: Path) -> None:
    options = write(source, tmp_path)
    tables, _ = read(source, tmp_path, options)
    path = next(tmp_path.rglob(tables.interactions[0].file))
    path.write_bytes(b"")
    with pytest.raises(DataError, match=f"{path.name}.*empty"):
        load_data(DataConfig(source=source, options=options), tmp_path, Silent())

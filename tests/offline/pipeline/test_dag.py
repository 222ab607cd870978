"""Done work is found, changed work is done again, half-done work is never taken for done."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.load import DataConfig
from retort.offline.pipeline.artifact_store import ArtifactStore, ArtifactStoreError
from retort.offline.pipeline.dag import Pipeline, Step
from retort.offline.pipeline.file_hashes import hash_directory
from retort.offline.pipeline.prepare import files_hash

Work = Callable[[Pipeline[list[str]], Path], None]


def writes(name: str) -> Work:
    """A step that notes its call and writes what its inputs say."""

    def act(pipeline: Pipeline[list[str]], work: Path) -> None:
        pipeline.context.append(name)
        needs = [(pipeline.ensure_path(need) / "out").read_text() for need in pipeline.steps[name].needs]
        (work / "out").write_text("+".join([*needs, str(pipeline.steps[name].config)]))

    return act


def pipeline_of(
    root: Path, calls: list[str], *, a: int = 1, b: int = 1, b_act: Work | None = None, resumes: bool = False
) -> Pipeline[list[str]]:
    steps = [
        Step("a", writes("a"), config={"a": a}),
        Step("b", b_act or writes("b"), needs=("a",), config={"b": b}, resumes=resumes),
        Step("c", writes("c"), needs=("b",)),
    ]
    return Pipeline(steps, calls, ArtifactStore(root), Silent())


def test_a_step_does_what_it_needs_first_and_once(tmp_path: Path) -> None:
    calls: list[str] = []
    one = pipeline_of(tmp_path, calls)
    one.ensure("c")
    one.ensure("c")
    assert calls == ["a", "b", "c"]


def test_done_work_is_skipped_by_the_next_run(tmp_path: Path) -> None:
    pipeline_of(tmp_path, []).ensure("c")
    calls: list[str] = []
    assert pipeline_of(tmp_path, calls).ensure("c").skipped
    assert calls == []


def test_only_what_a_change_touches_is_done_again(tmp_path: Path) -> None:
    pipeline_of(tmp_path, []).ensure("c")
    calls: list[str] = []
    pipeline_of(tmp_path, calls, b=2).ensure("c")
    assert calls == ["b", "c"]


def test_same_output_of_a_changed_step_stops_the_change(tmp_path: Path) -> None:
    """A step is named by what its inputs contain, not by how they were made."""

    def constant(pipeline: Pipeline[list[str]], work: Path) -> None:
        (work / "out").write_text("always this")

    pipeline_of(tmp_path, [], b=1, b_act=constant).ensure("c")
    calls: list[str] = []
    pipeline_of(tmp_path, calls, b=2, b_act=constant).ensure("c")
    assert calls == []


def test_a_failed_step_leaves_nothing_with_a_final_name(tmp_path: Path) -> None:
    def fail(pipeline: Pipeline[list[str]], work: Path) -> None:
        (work / "out").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline_of(tmp_path, [], b_act=fail).ensure("c")
    names = [path.name for path in (tmp_path / "steps").iterdir() if path.is_dir()]
    assert sorted(name.split("-")[0] for name in names if not name.endswith(".partial")) == ["a"]
    calls: list[str] = []
    pipeline_of(tmp_path, calls).ensure("c")
    assert calls == ["b", "c"]


@pytest.mark.parametrize("resumes", [False, True])
def test_leftovers_are_kept_only_for_steps_that_resume(tmp_path: Path, resumes: bool) -> None:
    found: list[bool] = []

    def interrupted(pipeline: Pipeline[list[str]], work: Path) -> None:
        found.append((work / "checkpoint").exists())
        (work / "checkpoint").write_text("half")
        if len(found) == 1:
            raise KeyboardInterrupt
        (work / "out").write_text("whole")

    with pytest.raises(KeyboardInterrupt):
        pipeline_of(tmp_path, [], b_act=interrupted, resumes=resumes).ensure("b")
    pipeline_of(tmp_path, [], b_act=interrupted, resumes=resumes).ensure("b")
    assert found == [False, resumes]


def test_full_disk_is_one_sentence_and_the_rerun_continues(tmp_path: Path) -> None:
    def full(pipeline: Pipeline[list[str]], work: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(work / "out"))

    with pytest.raises(ArtifactStoreError, match="is full; free some space and run the same command again"):
        pipeline_of(tmp_path, [], b_act=full).ensure("c")
    calls: list[str] = []
    pipeline_of(tmp_path, calls).ensure("c")
    assert calls == ["b", "c"]


def test_a_changed_file_is_seen_and_a_touched_one_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.csv").write_text("1")
    before = hash_directory(tmp_path)
    os.utime(tmp_path / "sub" / "a.csv", (1, 1))
    assert hash_directory(tmp_path) == before
    (tmp_path / "sub" / "a.csv").write_text("2")
    assert hash_directory(tmp_path) != before


def test_data_behind_a_link_are_data(tmp_path: Path) -> None:
    """A folder that is linked into the data directory is read by the sources; a link that leads back ends nowhere."""
    elsewhere, data = tmp_path / "elsewhere", tmp_path / "data"
    elsewhere.mkdir()
    data.mkdir()
    (elsewhere / "ratings.csv").write_text("1")
    (data / "ml").symlink_to(elsewhere)
    (data / "round").symlink_to(data)
    before = hash_directory(data)
    (elsewhere / "ratings.csv").write_text("2")
    assert hash_directory(data) != before


def test_output_in_the_data_directory_is_not_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    before = hash_directory(tmp_path)
    left = ("steps/data-1/step.json", "runs/steps/data-1/a.parquet", "runs/cold_items/shop-0.1/interactions.parquet")
    for name in ("retort.db", "retort.db-wal", "worker.log", *left):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("live")
    assert hash_directory(tmp_path) == before
    (tmp_path / "runs" / "b.csv").write_text("1")
    assert hash_directory(tmp_path) != before


def test_only_the_files_that_a_table_recipe_names_are_its_data(tmp_path: Path) -> None:
    for name in ("log.csv", "items.csv", "notes.txt"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    config = DataConfig(options={"interactions": "log.csv", "items": "items.csv", "separator": ";"})
    before, whole = files_hash(tmp_path, config), hash_directory(tmp_path)
    (tmp_path / "notes.txt").write_text("something else")
    assert files_hash(tmp_path, config) == before
    assert hash_directory(tmp_path) != whole
    (tmp_path / "items.csv").write_text("a,b\n1,3\n")
    assert files_hash(tmp_path, config) != before

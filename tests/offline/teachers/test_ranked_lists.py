"""Lists by id: what is written is what is read, and files for other data are refused. And DLLM2Rec's own files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from retort.offline.common.progress import Silent
from retort.offline.data.interactions import Items
from retort.offline.data.split import Split
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.offline.teachers.build import build_teacher
from retort.offline.teachers.config import TeacherConfig
from retort.offline.teachers.list_builders import ItemKnowledge, make_lists
from retort.offline.teachers.published import read_published_items, read_published_rankings
from retort.offline.teachers.ranked_lists import read_distributions, read_rankings, write_distributions, write_rankings
from retort.offline.teachers.teacher import Distributions, Rankings
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD
from retort.shared.model.item_index import ItemIndex
from tests.offline._worlds import ring, teacher_of

SPLIT = ring()
FRAME = pl.DataFrame({"item_id": ["i1"], "title": ["One"], "text": [None]}, schema_overrides={"text": pl.String})
NOTHING = ItemKnowledge(Items(FRAME), None, EncoderConfig())


def rankings() -> Rankings:
    made = teacher_of(SPLIT, unknown=3).rankings
    assert made is not None
    return made


def distributions() -> Distributions:
    made = teacher_of(SPLIT, unknown=3).distributions
    assert made is not None
    return made


def by_event(rows_E: np.ndarray, table: np.ndarray) -> np.ndarray:
    return table[rows_E[rows_E >= 0]]


def test_lists_survive_the_disk(tmp_path: Path) -> None:
    first, second = rankings(), distributions()
    write_rankings(tmp_path / "rankings.parquet", SPLIT, first)
    write_distributions(tmp_path / "distributions.parquet", SPLIT, second)
    teacher = build_teacher(SPLIT, None, None, TeacherConfig(lists="file", lists_path=tmp_path))
    assert teacher.rankings is not None
    assert teacher.distributions is not None
    assert ((teacher.rankings.rows_E >= 0) == (first.rows_E >= 0)).all()
    for name in ("items", "distances", "d_star"):
        np.testing.assert_array_equal(
            by_event(teacher.rankings.rows_E, getattr(teacher.rankings, name)),
            by_event(first.rows_E, getattr(first, name)),
        )
    for name in ("items", "probabilities", "true_ranks"):
        np.testing.assert_array_equal(
            by_event(teacher.distributions.rows_E, getattr(teacher.distributions, name)),
            by_event(second.rows_E, getattr(second, name)),
        )
    assert teacher.distributions.temperature == second.temperature


def test_lists_follow_ids_where_users_and_items_stand_in_another_order(tmp_path: Path) -> None:
    write_rankings(tmp_path / "r.parquet", SPLIT, rankings())
    order = list(reversed(range(len(SPLIT.item_index))))
    other = renumbered(SPLIT, order)
    read, first = read_rankings(tmp_path / "r.parquet", other), rankings()
    for event in (0, 50, 400):
        mine, theirs = first.rows_E[event], read.rows_E[event]
        assert (mine >= 0) == (theirs >= 0)
        if mine >= 0:
            names = [SPLIT.item_index.id(int(item)) for item in first.items[mine]]
            assert names == [other.item_index.id(int(item)) for item in read.items[theirs]]


def renumbered(split: Split, order: list[int]) -> Split:
    ids = [split.item_index.ids[place] for place in order]
    return replace(split, item_index=ItemIndex(ids))


def test_items_that_train_does_not_know_leave_no_gap(tmp_path: Path) -> None:
    write_rankings(tmp_path / "r.parquet", SPLIT, rankings())
    fewer = replace(SPLIT, item_index=ItemIndex(SPLIT.item_index.ids[:6]))
    read = read_rankings(tmp_path / "r.parquet", fewer)
    real = read.items != PAD
    assert (np.diff(real.astype(int), axis=1) <= 0).all()
    assert np.isinf(read.distances[~real]).all()


def test_lists_for_other_users_are_refused(tmp_path: Path) -> None:
    write_rankings(tmp_path / "r.parquet", SPLIT, rankings())
    strangers = replace(SPLIT, user_ids=tuple(f"x{user}" for user in SPLIT.user_ids))
    with pytest.raises(TeacherError, match=r"none of the .* rows belongs to a train event"):
        read_rankings(tmp_path / "r.parquet", strangers)


def test_damaged_lists_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    with pytest.raises(TeacherError, match="there are no teacher's lists"):
        read_distributions(path, SPLIT)
    path.write_text("no parquet")
    with pytest.raises(TeacherError, match="no Parquet file"):
        read_distributions(path, SPLIT)
    write_rankings(path, SPLIT, rankings())
    with pytest.raises(TeacherError, match="no column 'probabilities'"):
        read_distributions(path, SPLIT)
    write_distributions(path, SPLIT, distributions())
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({}), path)
    with pytest.raises(TeacherError, match="temperature"):
        read_distributions(path, SPLIT)
    pq.write_table(pa.concat_tables([table, table]), path)
    with pytest.raises(TeacherError, match="twice"):
        read_distributions(path, SPLIT)


def test_the_recipe_names_the_source_of_lists(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="needs lists_path"):
        build_teacher(SPLIT, None, None, TeacherConfig(lists="file"))
    with pytest.raises(TeacherError, match="neither"):
        build_teacher(SPLIT, None, None, TeacherConfig(lists="file", lists_path=tmp_path))
    with pytest.raises(TeacherError, match="needs item vectors"):
        make_lists(SPLIT, NOTHING, TeacherConfig(lists="text_encoder"), Silent())


def publish(directory: Path) -> None:
    """Two instances about users u1 and u0; items are published in the reverse of our order."""
    torch.save(torch.arange(24.0).view(12, 2), directory / "all_embeddings.pt")
    (directory / "items.csv").write_text("item_id\n" + "\n".join(f"i{item}" for item in range(12, 0, -1)) + "\n")
    (directory / "instances.csv").write_text("user_id,position\nu1,2\nu0,1\n")
    true_item = SPLIT.train[1][2]
    (directory / "myrank_train.txt").write_text(f"{12 - true_item} {true_item % 11}\n0\t1\n")
    (directory / "confidence_train.txt").write_text("0.5 0.75\n1.0 2.0\n")


def test_published_files_are_joined_by_id(tmp_path: Path) -> None:
    publish(tmp_path)
    read = build_teacher(SPLIT, None, None, TeacherConfig(lists="published", lists_path=tmp_path)).rankings
    assert read is not None
    row = read.rows_E[SPLIT.train.offsets[1] + 2]
    assert read.items[row, 0] == SPLIT.train[1][2]
    assert read.d_star[row] == 0.5  # the true item is the first candidate
    other = read.rows_E[SPLIT.train.offsets[0] + 1]
    assert [SPLIT.item_index.id(int(item)) for item in read.items[other]] == ["i12", "i11"]
    assert (read.rows_E >= 0).sum() == 2
    items = read_published_items(tmp_path)
    assert items.ids[0] == "i12"
    assert items.vectors.shape == (12, 2)


def test_published_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    publish(tmp_path)
    (tmp_path / "confidence_train.txt").write_text("0.5 0.75\n")
    with pytest.raises(TeacherError, match="must agree"):
        read_published_rankings(tmp_path, SPLIT)
    publish(tmp_path)
    (tmp_path / "myrank_train.txt").write_text("0 12\n0 1\n")
    with pytest.raises(TeacherError, match="item number 12"):
        read_published_rankings(tmp_path, SPLIT)
    (tmp_path / "myrank_train.txt").write_text("0 one\n0 1\n")
    with pytest.raises(TeacherError, match="row of numbers"):
        read_published_rankings(tmp_path, SPLIT)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    publish(tmp_path)

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("run",)

    torch.save(Evil(), tmp_path / "all_embeddings.pt")
    with pytest.raises(TeacherError, match="more than tensors"):
        read_published_items(tmp_path)


@pytest.mark.parametrize(
    ("file", "column", "value", "words"),
    [
        ("rankings", "distances", [[float("nan"), 1.0]], "row 0: a number of the list is missing, NaN or infinite"),
        ("rankings", "distances", [[None, 1.0]], "row 0: a number"),
        ("rankings", "distances", [[float("inf"), 1.0]], "row 0: a number"),
        ("rankings", "d_star", [float("inf")], "d_star of a row is infinite"),
        ("distributions", "probabilities", [[float("nan"), 0.1]], "row 0: a number"),
        ("distributions", "true_rank", [None], "true_rank of a row is missing"),
        ("distributions", "true_rank", [0], "below 1"),
    ],
)
def test_numbers_of_lists_are_checked_on_reading(
    tmp_path: Path, file: str, column: str, value: list[object], words: str
) -> None:
    user, items = SPLIT.user_ids[0], [[SPLIT.item_index.ids[0], SPLIT.item_index.ids[1]]]
    row = {"user_id": [user], "position": [1], "items": items}
    row |= {"distances": [[0.5, 1.0]], "d_star": [0.5]} if file == "rankings" else {
        "probabilities": [[0.5, 0.1]], "true_rank": [3],
    }  # fmt: skip
    kinds = {"true_rank": pa.int64(), "d_star": pa.float64()}
    table = pa.table({key: pa.array(each, kinds.get(key)) for key, each in {**row, column: value}.items()})
    pq.write_table(table.replace_schema_metadata({"retort.temperature": "1.0"}), tmp_path / "lists.parquet")
    read = read_rankings if file == "rankings" else read_distributions
    with pytest.raises(TeacherError, match=words):
        read(tmp_path / "lists.parquet", SPLIT)


@pytest.mark.parametrize("temperature", ["nan", "0", "-1", "warm"])
def test_a_temperature_that_is_none_is_refused(tmp_path: Path, temperature: str) -> None:
    write_distributions(tmp_path / "d.parquet", SPLIT, distributions())
    table = pq.read_table(tmp_path / "d.parquet").replace_schema_metadata({"retort.temperature": temperature})
    pq.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(TeacherError, match="number above 0"):
        read_distributions(tmp_path / "d.parquet", SPLIT)

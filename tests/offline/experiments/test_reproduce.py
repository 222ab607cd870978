"""Reproduction of papers: recipes, modes, published numbers, comparability, and a table from small files."""

import re
from pathlib import Path

import pytest

from retort.offline.cli.measure import reproduce, reproduced_notes, reproduced_rows
from retort.offline.distillation.profile import Config as Profile
from retort.offline.experiments.reproduce import COUNTS, Reproduced, Row, papers, recipe_in, rows_of
from retort.shared.base.errors import RecipeError
from tests.offline.distillation._layouts import WRITERS

SMALL = [
    "encoder.model=tfidf",
    "training.epochs=2",
    "training.batch_size=16",
]
PROFILES = ["profiles.backend=template", "reducer.method=pca", "objectives.0.last_epoch=1"]
NARROW = ["student.embedding_dim=8", "reducer.n_components=8"]
# paper, data set, what is made small, recipes that are run, one number that the paper printed
TABLES = [
    ("ecir26", "beauty", [*PROFILES, *NARROW], 6, "0.0126"),
    ("llmkt", "ml1m", [*PROFILES, "encoder.model=packaged-minilm"], 9, "0.1969"),
    ("dllm2rec", "games", ["teacher.text_encoder.width=8"], 6, "0.0262"),
    ("llmd4rec", "toys", ["teacher.text_encoder.width=8", "teacher.mutual.loops=1"], 3, "0.0398"),
]


def test_every_paper_has_printed_numbers_and_taught_ones_are_not_worse() -> None:
    assert papers() == ["dllm2rec", "ecir26", "llmd4rec", "llmkt"]
    for paper in papers():
        rows = {(row.dataset, row.student, row.mode): row.published.values for row in rows_of(paper, None)}
        for (dataset, student, mode), printed in rows.items():
            if mode != "plain":
                plain = rows[dataset, student, "plain"]
                assert all(value >= plain[metric] for metric, value in printed.items())


@pytest.mark.parametrize("paper", ["dllm2rec", "ecir26", "llmd4rec"])
def test_a_mode_is_the_objectives_own(paper: str) -> None:
    modes = {row.mode: row.recipe for row in rows_of(paper, "beauty")}
    assert set(modes) == {"plain", "faithful", "repaired"}
    assert modes["plain"].is_plain
    for mode in ("faithful", "repaired"):
        said = [one.model_dump().get("mode") for one in modes[mode].objectives]
        assert set(said) - {None} == {mode}


def test_a_repaired_run_takes_its_own_defaults_for_what_belongs_to_the_published_form() -> None:
    modes = {row.mode: row.recipe for row in rows_of("ecir26", "beauty") if row.student == "sasrec"}
    (faithful,), (repaired,) = modes["faithful"].objectives, modes["repaired"].objectives
    own = Profile(name="profile")
    published = {"loss": "mse", "scale_cap": 1e6}
    assert {key: getattr(faithful, key) for key in published} == published
    assert {key: getattr(repaired, key) for key in published} == {"loss": own.loss, "scale_cap": own.scale_cap}
    assert (modes["faithful"].encoder.prefix, modes["repaired"].encoder.prefix) == ("", None)


@pytest.mark.parametrize("row", rows_of("ecir26", None, ("repaired",)), ids=lambda row: row.recipe.name)
def test_a_repaired_run_keeps_what_the_paper_chose_for_the_data_set(row: Row) -> None:
    faithful = recipe_in(row.recipe.name.removesuffix("_repaired"), "faithful", {})
    chosen = ("weight", "share", "last_epoch", "match_scale", "pooling", "gamma", "block")
    (was,), (now,) = faithful.objectives, row.recipe.objectives
    assert {key: getattr(now, key) for key in chosen} == {key: getattr(was, key) for key in chosen}
    assert now.mode == "repaired"
    assert {**row.recipe.as_json(), "name": "", "encoder": "", "objectives": []} == {
        **faithful.as_json(),
        "name": "",
        "encoder": "",
        "objectives": [],
    }


def test_what_is_set_on_the_command_line_holds_in_a_repaired_run() -> None:
    rows = rows_of("ecir26", "beauty", ("repaired",), ["objectives.0.loss=rmse", "encoder.prefix=passage: "])
    assert {row.recipe.objectives[0].loss for row in rows} == {"rmse"}
    assert {row.recipe.encoder.prefix for row in rows} == {"passage:"}


def test_published_numbers_stand_beside_their_own_row() -> None:
    rows = {(row.student, row.mode): row.published.values for row in rows_of("ecir26", "beauty")}
    assert rows["sasrec", "plain"] == {"hr@10": 0.0217, "ndcg@10": 0.0106}
    assert rows["bert4rec", "faithful"] == {"hr@10": 0.0126, "ndcg@10": 0.0061}


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is no paper"):
        rows_of("sigir27", None)
    with pytest.raises(RecipeError, match=r"it has recipes for: .*beauty"):
        rows_of("ecir26", "yoochoose")
    with pytest.raises(RecipeError, match="name the one in --data"):
        reproduce("ecir26", tmp_path, None, tmp_path, "plain", [])
    with pytest.raises(RecipeError, match="names none of"):
        reproduce("ecir26", tmp_path, "beauty", tmp_path, "best", [])


def reproduced(row: Row, **counts: int) -> Reproduced:
    """A run on data with the published counts, less what `counts` changes."""
    return Reproduced(row, {"hr@10": 0.02, "ndcg@10": 0.01}, {**row.published.counts, **counts})


def test_every_published_row_states_its_data_and_names_the_differences() -> None:
    for paper in papers():
        for row in rows_of(paper, None, ("plain",)):
            assert set(row.published.counts) == (set(COUNTS) if row.published.values else set())
            assert row.published.differences


def test_the_same_data_under_the_same_protocol_are_comparable() -> None:
    row = next(row for row in rows_of("ecir26", "beauty", ("faithful",)) if row.student == "sasrec")
    close = reproduced(row, users=71_500, items=39_000)
    assert (close.mismatches, close.unknown) == ([], [])
    (line, *_) = reproduced_notes([close])
    assert line.startswith("The recipe differs (beauty, sasrec): the epoch: validation selects it")
    assert [row["comparable"] for row in reproduced_rows([close])] == [True, True]


def test_other_data_are_not_comparable() -> None:
    row = next(row for row in rows_of("ecir26", "beauty", ("faithful",)) if row.student == "sasrec")
    other = reproduced(row, users=22_363)
    assert other.mismatches == ["users: 22,363 here, 70,996 published"]
    assert reproduced_notes([other])[0] == "NOT COMPARABLE (beauty, sasrec): users: 22,363 here, 70,996 published."
    assert [row["comparable"] for row in reproduced_rows([other])] == [False, False]


def test_another_protocol_is_not_comparable() -> None:
    shown = rows_of("ecir26", "beauty", ("plain",), ["evaluation.hide_seen=true", "split.quantile=0.9"])
    assert reproduced(shown[0]).mismatches == ["quantile: 0.9 here, 0.8 published", "hide_seen: yes here, no published"]
    sampled = rows_of("llmkt", "ml1m", ("plain",))
    assert reproduced(sampled[0]).mismatches == [
        "split: leave_one_out here, ratio published",
        "ranking: full here, 100 sampled negatives published",
    ]


def test_what_a_paper_does_not_state_is_reported_as_unknown() -> None:
    row = rows_of("llmd4rec", "toys", ("plain",))[0]
    unstated = reproduced(row)
    assert (unstated.mismatches, unstated.unknown) == ([], ["split", "ranking", "hide_seen"])
    assert "Not stated by the paper (toys, sasrec): split, ranking, hide_seen." in reproduced_notes([unstated])


def test_published_values_are_carried_where_the_code_has_the_setting() -> None:
    recipes = {row.student: row.recipe for row in rows_of("llmkt", "ml1m", ("faithful",))}
    simplex = recipes["simplex"]
    assert (simplex.training.ccl_margin, simplex.training.ccl_weight) == (0.9, 10.0)
    assert simplex.student.embedding_dim == 128
    assert recipes["multvae"].as_json()["student"]["kl_steps"] == 200_000


@pytest.mark.long
@pytest.mark.parametrize(("paper", "dataset", "smaller", "n_rows", "printed"), TABLES, ids=[row[0] for row in TABLES])
def test_a_table_from_a_small_file_of_the_papers_layout(
    paper: str,
    dataset: str,
    smaller: list[str],
    n_rows: int,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    WRITERS[dataset](tmp_path / "raw")
    reproduce(paper, tmp_path / "raw", dataset, tmp_path / "runs", "plain,faithful,repaired", SMALL + smaller)
    said = capsys.readouterr().out
    rows = set(re.findall(rf"│ ({paper}_{dataset}_\w+) ", said))
    assert len(rows) == n_rows, said
    assert printed in said
    assert "NOT COMPARABLE" in said

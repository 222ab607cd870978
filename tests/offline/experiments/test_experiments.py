"""The experiments' arithmetic and files, over runs whose ranks are made up."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from retort.offline.cli.experiments_cli import app
from retort.offline.common.progress import Silent
from retort.offline.experiments.arms import Arm, Arms, against
from retort.offline.experiments.profiles import EXPERIMENTS, coldstart, robustness, staleness
from retort.offline.pipeline.outcome import Outcome
from retort.shared.base.errors import RecipeError

N_USERS = 400


class MadeUpArms(Arms):
    """The better the profiles, the better the ranks; a plain run is always the same."""

    def run(self, name: str, x: float, more: Sequence[str] = (), *, plain: bool = False) -> Arm:
        keys = dict(one.split("=") for one in more)
        share = float(keys.get("profiles.history_share", 1.0))
        good = (
            0.0 if plain or "teacher.control" in keys else share * (1.0 - float(keys.get("profiles.damage.share", 0.0)))
        )
        random = np.random.default_rng(3)
        lengths = random.integers(1, 80, N_USERS)
        # short histories gain most
        gain = good * np.where(lengths < 20, 6, 1)
        ranks = np.maximum(1, random.integers(1, 30, N_USERS) - gain).astype(np.int64)
        path = self.out / f"{name.replace(' ', '-').replace('%', '')}.parquet"
        ids = [f"u{n}" for n in range(N_USERS)]
        pl.DataFrame({"user_id": ids, "rank": ranks, "history_length": lengths}).write_parquet(path)
        return Arm(name, x, (Outcome(self.out, {}, {}, {}, {}, path),))


@pytest.fixture
def arms(tmp_path: Path) -> Arms:
    return MadeUpArms("demo", None, tmp_path, [], Silent())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_writes_a_table_and_a_picture(name: str, arms: Arms, tmp_path: Path) -> None:
    rows, table, picture = EXPERIMENTS[name](arms, tmp_path / "out")
    assert pl.read_csv(table)["arm"].to_list() == [row["arm"] for row in rows]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 5000
    for row in rows:
        assert row["gain low"] <= row["gain"] <= row["gain high"]


def test_older_profiles_gain_less(arms: Arms, tmp_path: Path) -> None:
    rows, *_ = staleness(arms, tmp_path / "out")
    *aged, control = rows
    gains = [row["gain"] for row in aged]
    assert gains == sorted(gains, reverse=True)
    assert [row["x"] for row in aged] == [1.0, 0.9, 0.75, 0.5, 0.25]
    assert gains[-1] > control["gain"] == 0.0


def test_new_users_are_told_apart_from_old_ones(arms: Arms, tmp_path: Path) -> None:
    rows, *_ = coldstart(arms, tmp_path / "out")
    by_name = {row["arm"]: row for row in rows}
    assert by_name["profiles: 5 to 9"]["gain"] > by_name["profiles: 20 to 49"]["gain"]
    assert sum(row["users"] for row in rows if row["arm"].startswith("profiles")) == N_USERS
    assert all(row["gain"] == 0.0 for row in rows if row["arm"].startswith("control"))


def test_wrong_profiles_gain_nothing(arms: Arms, tmp_path: Path) -> None:
    rows, *_ = robustness(arms, tmp_path / "out")
    assert rows[0]["x"] == 0.0
    assert rows[0]["gain"] == max(row["gain"] for row in rows) > 0
    wholly_wrong = [row for row in rows if row["x"] == 1.0]
    assert [row["gain"] for row in wholly_wrong] == [0.0, 0.0]
    assert against(arms.run("plain", 0, plain=True), arms.run("profiles", 0))["gain"] > 0


def test_a_plain_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no teacher"):
        Arms("beauty_sasrec_plain", None, tmp_path, [], Silent()).run("plain", 0.0)


def test_the_three_take_the_same_words() -> None:
    for name in EXPERIMENTS:
        said = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "120"})
        assert said.exit_code == 0, said.output
        assert all(option in said.output for option in ("--data", "--out", "--to", "--set", "--seeds"))

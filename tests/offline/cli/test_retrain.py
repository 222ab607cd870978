"""`retort retrain`: the gate decides about each round; a failed round does not end the schedule."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from retort.offline.cli import retrain
from retort.offline.cli.main import app
from retort.offline.common.database import migrate_and_open
from retort.shared.base.errors import RecipeError, StoreError
from retort.shared.base.settings import Settings
from retort.shared.model import registry
from tests.two_tastes import write_files

_RECIPE = """
extends = "shop"
[data.options]
interactions = "log.csv"
separator = ";"
user_id = "customer"
item_id = "sku"
timestamp = "at"
time_format = "%d.%m.%Y %H:%M"
[student]
max_length = 10
embedding_dim = 16
[training]
batch_size = 32
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_files(tmp_path)
    (tmp_path / "shop.toml").write_text(_RECIPE + "epochs = 6\nlearning_rate = 1e-2\n")
    (tmp_path / "untrained.toml").write_text(_RECIPE + "epochs = 1\nlearning_rate = 1e-12\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    for name in ("REDIS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def champion() -> str | None:
    engine: sa.Engine = migrate_and_open(Settings())
    return registry.aliases(engine).get(registry.CHAMPION)


def test_the_first_bundle_becomes_champion_and_a_worse_one_does_not(shop: Path) -> None:
    first = CliRunner().invoke(app, ["retrain", "shop.toml", "--data", "."])
    assert first.exit_code == 0, first.output
    good = champion()
    assert good is not None
    worse = CliRunner().invoke(app, ["retrain", "untrained.toml", "--data", "."])
    assert worse.exit_code == retrain.REFUSED, worse.output
    assert "champion is not moved" in worse.output
    assert champion() == good
    again = CliRunner().invoke(app, ["retrain", "shop.toml", "--data", "."])
    assert again.exit_code == 0, again.output


def test_a_failed_round_is_reported_and_the_next_one_follows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = iter(
        [
            StoreError("the database is unavailable; start it."),
            retrain.Round("b", True, "b is champion."),
            KeyboardInterrupt(),
        ]
    )

    def run_round(*_: object, **__: object) -> retrain.Round:
        result = next(rounds)
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr(retrain, "run_round", run_round)
    with pytest.raises(KeyboardInterrupt):
        retrain._repeat("shop", None, Path("runs"), "champion", 0.0, submit=False)
    printed = capsys.readouterr()
    assert "this round failed: the database is unavailable" in printed.err
    assert "b is champion." in printed.out


@pytest.mark.parametrize(
    ("every", "when"), [("24h", "0 3 * * *"), ("7d", "0 3 */7 * *"), ("6h", "0 */6 * * *"), ("60m", "0 */1 * * *")]
)
def test_cron_lines(every: str, when: str) -> None:
    line = retrain.cron_line("shop.toml", Path("data"), Path("runs"), every, "champion")
    assert line.startswith(f"{when} cd ")
    assert "retrain shop.toml --data /" in line


@pytest.mark.parametrize("every", ["daily", "0h", "-1h", "5", "25h", "90m"])
def test_times_that_are_none_are_refused(every: str) -> None:
    with pytest.raises(RecipeError, match=r"write one such as|cron has no line"):
        retrain.cron_line("shop.toml", None, Path("runs"), every, "champion")

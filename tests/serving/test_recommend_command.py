"""Lists of the offline command equal those of the server, for known and unknown users."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from retort.offline.cli.recommend import BatchRequest, recommend_users
from retort.shared.base.errors import DataError
from retort.shared.history.history_load import load_histories
from retort.shared.history.redis_history import RedisHistory
from tests.serving.conftest import MakeClient

USERS = [f"u{n}" for n in range(300)] + ["stranger", "outsider"]


def history_of(user_id: str) -> list[str]:
    if user_id == "outsider":
        return ["gone1", "gone2"]
    number = int(user_id[1:])
    return [f"i{item}" for item in np.random.default_rng(number).permutation(60)[: 1 + number % 58] + 1]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    pl.DataFrame({"user_id": [*USERS, "u0"]}).write_parquet(tmp_path / "users.parquet")
    rows = [
        {"user_id": user, "item_id": item, "timestamp": 1000 + place}
        for user in USERS
        if user != "stranger"
        for place, item in enumerate(history_of(user))
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "histories.parquet")
    return tmp_path / "users.parquet", tmp_path / "histories.parquet"


def ask(client: TestClient, user_id: str) -> list[tuple[str, float]]:
    answer = client.post("/recommend", json={"user_id": user_id, "k": 7}).json()
    return [(item["item_id"], item["score"]) for item in answer["items"]]


@pytest.mark.parametrize("where", ["file", "redis"])
def test_offline_lists_equal_those_of_the_server(
    where: str,
    files: tuple[Path, Path],
    bundle_path: Path,
    redis_url: str,
    make_client: MakeClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    users, histories = files
    stored = [
        (user, [(item, 1000 + place) for place, item in enumerate(history_of(user))])
        for user in USERS
        if user != "stranger"
    ]
    load_histories(redis_url, stored)
    out = tmp_path / "out" / "answers.parquet"
    said = recommend_users(
        BatchRequest(users, out, str(bundle_path), histories if where == "file" else None, 7, "default")
    )
    assert said.startswith("302 users")
    answers = pl.read_parquet(out)
    assert answers["user_id"].unique(maintain_order=True).to_list() == USERS
    client = make_client(RedisHistory.from_url(redis_url))
    for user in ("u0", "u7", "u57", "u255", "u256", "u299", "stranger", "outsider"):
        mine, online = answers.filter(user_id=user), ask(client, user)
        assert mine["item_id"].to_list() == [item for item, _ in online]
        assert mine["rank"].to_list() == list(range(1, len(online) + 1))
        np.testing.assert_allclose(mine["score"], [score for _, score in online], rtol=1e-5)
    by_user = dict(answers.select("user_id", "source").iter_rows())
    assert (by_user["u0"], by_user["stranger"], by_user["outsider"]) == ("student", "popular", "popular")


@pytest.mark.parametrize(
    ("frame", "said"),
    [({"user": ["a"]}, "no column 'user_id'"), ({"user_id": ["a", None]}, "row 2: user_id is missing")],
)
def test_invalid_files_end_with_one_message(
    frame: dict[str, list[str]], said: str, bundle_path: Path, tmp_path: Path
) -> None:
    pl.DataFrame(frame).write_parquet(tmp_path / "users.parquet")
    with pytest.raises(DataError, match=said):
        recommend_users(
            BatchRequest(
                tmp_path / "users.parquet", tmp_path / "out", str(bundle_path), tmp_path / "none", 5, "default"
            )
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "jsonl"])
def test_users_and_histories_of_other_formats(
    kind: str, files: tuple[Path, Path], bundle_path: Path, tmp_path: Path
) -> None:
    users, histories = files
    expected, out = tmp_path / "expected.parquet", tmp_path / "out.parquet"
    recommend_users(BatchRequest(users, expected, str(bundle_path), histories, 7, "default"))
    others = []
    for path in files:
        frame, other = pl.read_parquet(path), tmp_path / f"{path.stem}.{kind}"
        if kind == "jsonl":
            frame.write_ndjson(other)
        else:
            text = frame.write_csv(separator="\t" if kind == "tsv" else ",").encode()
            other.write_bytes(gzip.compress(text) if kind.endswith(".gz") else text)
        others.append(other)
    recommend_users(BatchRequest(others[0], out, str(bundle_path), others[1], 7, "default"))
    assert pl.read_parquet(out).equals(pl.read_parquet(expected))


def test_ids_of_a_users_file_follow_the_rule_of_training(bundle_path: Path, tmp_path: Path) -> None:
    pl.DataFrame({"user_id": [1.0, 2.0]}).write_parquet(tmp_path / "users.parquet")
    (tmp_path / "histories.csv").write_text("user_id,item_id,timestamp\n1,i1,9\n1,i2,10\n")
    out = tmp_path / "out.parquet"
    recommend_users(
        BatchRequest(tmp_path / "users.parquet", out, str(bundle_path), tmp_path / "histories.csv", 3, "default")
    )
    answers = pl.read_parquet(out)
    assert answers["user_id"].unique(maintain_order=True).to_list() == ["1", "2"]
    assert answers["source"].unique(maintain_order=True).to_list() == ["student", "popular"]
    (tmp_path / "users.csv").write_text('user_id\n"u\n1"\n')
    with pytest.raises(DataError, match=r"row 2.*contains a line break"):
        recommend_users(
            BatchRequest(tmp_path / "users.csv", out, str(bundle_path), tmp_path / "histories.csv", 3, "default")
        )

"""`/models/versions` and the moves of aliases: the gate of the API gives the verdict of `retort promote`."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from retort.offline.common.progress import Silent
from retort.offline.evaluation.promotion_gate import check_promotion
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.model import registry
from retort.shared.model.bundle import open_bundle
from retort.shared.model.manifest import read_manifest
from tests.serving._graphs import make_bundle

GOOD = {f"u{n}": 1 + n % 3 for n in range(30)}
BAD = {f"u{n}": 5 + n % 3 for n in range(5, 35)}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One good bundle, a worse one, one of another test, one without ranks, and one with an approximate graph."""
    home = tmp_path_factory.mktemp("bundles")
    return {
        "good": make_bundle(home, name="good", seed=1, ranks=GOOD),
        "bad": make_bundle(home, name="bad", seed=2, ranks=BAD),
        "other": make_bundle(home, name="other", seed=3, ranks=GOOD, data_hash="e" * 64),
        "bare": make_bundle(home, name="bare", seed=4),
        "approximate": make_bundle(
            home,
            name="approximate",
            seed=5,
            ranks=GOOD,
            retrieval={"retrieval": "two_stage", "agreement@10": 0.845, "required": 0.999},
        ),
    }


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    engine = open_database(url)
    yield engine
    engine.dispose()


def publish(engine: Engine, path: Path, alias: str | None = None) -> str:
    published = registry.publish(engine, read_manifest(path), f"file://{path}")
    if alias is not None:
        registry.promote(engine, published.bundle_id, alias, set_by="ann", reason="first")
    return published.bundle_id


def promote(client: TestClient, bundle_id: str, **body: object) -> Any:
    return client.post("/models/aliases/champion/promotion", json={"bundle_id": bundle_id, **body})


@pytest.mark.parametrize(
    ("pair", "passed", "words"),
    [
        (("good", "bad"), False, "significant"),
        (("bad", "good"), True, "significant"),
        (("good", "good"), True, "not significant"),
        (("good", "other"), False, "different tests"),
        (("bare", "bad"), False, "no ranks of its test users"),
        (("bad", "approximate"), False, "two-stage retrieval agrees with exact scores on 84.50%"),
    ],
)
def test_the_command_and_the_api_have_one_gate(
    client: TestClient, engine: Engine, bundles: dict[str, Path], pair: tuple[str, str], passed: bool, words: str
) -> None:
    champion, challenger = (bundles[name] for name in pair)
    expected = check_promotion(open_bundle(champion), open_bundle(challenger), None, None, Silent())
    assert expected.passed is passed
    assert words in expected.reason
    publish(engine, champion, "champion")
    if challenger != champion:
        answer = client.get("/models/comparison", params={"bundle_id": publish(engine, challenger)}).json()
        assert (answer["passed"], answer["reason"]) == (expected.passed, expected.reason)


def test_versions_and_promotions_are_listed_newest_first(
    client: TestClient, engine: Engine, bundles: dict[str, Path]
) -> None:
    good, bad = publish(engine, bundles["good"], "champion"), publish(engine, bundles["bad"])
    answer = client.get("/models/versions").json()
    assert [(version["bundle_id"], version["aliases"]) for version in answer["versions"]] == [
        (bad, []),
        (good, ["champion"]),
    ]
    assert answer["versions"][0]["test"] == {"hr@10": 0.2, "ndcg@10": 0.1}
    (promotion,) = answer["promotions"]
    assert (promotion["model"], promotion["set_by"], promotion["reason"]) == ("good@1", "ann", "first")


def test_a_worse_version_is_refused_unless_it_is_forced_with_a_reason(
    client: TestClient, engine: Engine, bundles: dict[str, Path]
) -> None:
    good, bad = publish(engine, bundles["good"], "champion"), publish(engine, bundles["bad"])
    comparison = client.get("/models/comparison", params={"bundle_id": bad}).json()
    assert (comparison["passed"], comparison["users"], comparison["high"] < 0) == (False, 25, True)
    refused = promote(client, bad)
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("champion is not moved: ndcg@10:")
    assert promote(client, bad, force=True).status_code == 422
    for reason in ("  ", "a\x00b"):
        assert promote(client, bad, force=True, because=reason).status_code == 422
    assert registry.aliases(engine)["champion"] == good
    moved = promote(client, bad, force=True, because="a trial").json()
    assert moved["model"] == "bad@1"
    latest = registry.changes(engine)[0]
    assert (latest.forced, latest.set_by) == (True, "console")
    assert (latest.reason or "").startswith("a trial | ndcg@10:")


def test_a_better_version_is_promoted_and_rolled_back(
    client: TestClient, engine: Engine, bundles: dict[str, Path]
) -> None:
    bad, good = publish(engine, bundles["bad"], "champion"), publish(engine, bundles["good"])
    assert promote(client, good).json()["model"] == "good@1"
    assert registry.aliases(engine)["champion"] == good
    assert client.post("/models/aliases/champion/rollback", json={}).json()["model"] == "bad@1"
    assert registry.aliases(engine)["champion"] == bad
    again = client.post("/models/aliases/champion/rollback", json={})
    assert again.status_code == 409
    assert "no earlier promotion" in again.json()["detail"]


def test_what_cannot_be_compared_says_why(client: TestClient, engine: Engine, bundles: dict[str, Path]) -> None:
    assert client.get("/models/comparison", params={"bundle_id": "0" * 16}).status_code == 404
    only = publish(engine, bundles["good"], "champion")
    same = client.get("/models/comparison", params={"bundle_id": only}).json()
    assert (same["passed"], same["metric"]) == (True, None)
    away = publish(engine, bundles["bad"])
    with engine.begin() as connection:
        connection.exec_driver_sql(f"update bundles set uri = 's3://bucket/x' where bundle_id = '{away}'")
    found = client.get("/models/comparison", params={"bundle_id": away}).json()
    assert (found["passed"], "no copy" in found["reason"]) == (False, True)
    assert promote(client, away).status_code == 409

"""`/experiments`: counts by user from the database, otherwise by list from the metrics; and offline tables."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.events.events import StreamedEvent
from retort.shared.events.events_table import store_events
from retort.shared.events.exposures import Exposure
from retort.shared.events.exposures_table import ExposuresTable
from retort.shared.model.offline_results import OfflineRow, OfflineTable, store_table
from tests.serving.conftest import MakeClient

TEST = {
    "name": "autumn",
    "holdout": 0.2,
    "variants": [{"name": "control", "share": 0.5}, {"name": "new", "share": 0.5, "defaults": {"diversity": 0.3}}],
}


def offline_table(name: str, description: str = "") -> OfflineTable:
    """A baseline, a row with a gain, and its control."""
    rows = [
        OfflineRow(
            name=row,
            student="sasrec",
            is_baseline=row == "plain",
            is_control=row == "noise",
            explains=["text"] if row == "noise" else [],
            value=0.18,
            seeds=2,
            users=None if difference is None else 500,
            difference=difference,
            low=None if difference is None else difference - 0.02,
            high=None if difference is None else difference + 0.02,
            p=None if difference is None else 0.03,
        )
        for row, difference in (("plain", None), ("text", 0.06), ("noise", 0.01))
    ]
    return OfflineTable(
        name=name,
        description=description,
        command=f"retort experiment run {name}",
        commits=["abc"],
        metric="ndcg@10",
        protocol="held",
        cases=500,
        expected_seeds=5,
        missing=["profile · sasrec"],
        rows=rows,
    )


@pytest.fixture
def tested(make_client: MakeClient, tmp_path: Path) -> TestClient:
    (tmp_path / "ab.json").write_text(json.dumps(TEST))
    return make_client(experiment=tmp_path / "ab.json")


def result(client: TestClient, **query: Any) -> Any:
    answer = client.get("/experiments", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["experiment"]


def test_a_server_without_a_test_says_so(client: TestClient) -> None:
    assert result(client) is None


def test_lists_of_this_server_are_counted_from_its_metrics(tested: TestClient) -> None:
    for number in range(120):
        answer = tested.post("/recommend", json={"user_id": f"u{number}"}).json()
        event = {"item_id": answer["items"][0]["item_id"], "impression": answer["impression"], "event_type": "click"}
        if number % 3 == 0:
            tested.post("/events", json={"user_id": f"u{number}", **event})
    found = result(tested)
    assert (found["unit"], found["since"], found["event_type"]) == ("lists", None, "click")
    assert [variant["name"] for variant in found["variants"]] == ["control", "new", "holdout"]
    assert [round(variant["share"], 2) for variant in found["variants"]] == [0.4, 0.4, 0.2]
    assert sum(variant["lists"] for variant in found["variants"]) == 120
    assert sum(variant["clicks"] for variant in found["variants"]) == 40
    new = found["variants"][1]
    assert new["difference_low"] < new["difference"] < new["difference_high"]
    assert (found["split_p"], new["days_needed"]) == (None, None)


def test_users_are_the_units_when_the_database_has_the_lists(tested: TestClient, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    engine = open_database(url)
    lists, clicks = [], []
    for number in range(40):
        user, variant = f"u{number}", ("control", "new")[number % 2]
        for page in range(1 + number % 3):
            request = f"r{number}-{page}"
            values = {"user_id": user, "experiment": "autumn", "variant": variant}
            lists.append(Exposure(request, "default", 1_000 + number, "student", ("i1", "i2"), **values))
            token = f"{request}.student.{variant}~autumn"
            if number % 4 < 2 and page == 0:
                for again in range(2):  # two clicks on one list
                    values = {"user_id": user, "impressions": (token,)}
                    clicks.append(
                        StreamedEvent(f"e{number}-{again}", "default", "i1", "click", 1.0, 2_000, 2_000, **values)
                    )
    lists.append(
        Exposure(
            "r0-0",
            "default",
            1_000,
            "student",
            ("i3",),
            user_id="u0",
            first_rank=11,
            experiment="autumn",
            variant="control",
        )
    )
    lists.append(Exposure("other", "default", 5, "student", ("i3",), user_id="u0"))
    ExposuresTable(engine).keep(lists)
    store_events(engine, clicks)
    engine.dispose()
    found = result(tested)
    assert (found["unit"], found["since"]) == ("users", "1970-01-01T00:00:01Z")
    control, new, holdout = found["variants"]
    assert (control["users"], new["users"], holdout["users"]) == (20, 20, 0)
    assert control["lists"] + new["lists"] == len(lists) - 2
    assert (control["clicks"], new["clicks"]) == (10, 10)
    assert new["days_needed"] > 0
    assert found["split_p"] < 0.01, "nobody is in the holdout"
    assert result(tested, event_type="purchase")["variants"][0]["clicks"] == 0


def test_offline_tables_are_read_from_the_database_alone(client: TestClient, tmp_path: Path) -> None:
    def tables() -> Any:
        return client.get("/experiments/offline").raise_for_status().json()["experiments"]

    assert tables() == [], "there is no database yet"
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    engine = open_database(url)
    for name in ("first", "second"):
        store_table(engine, offline_table(name))
    store_table(engine, offline_table("theirs"), "another")
    engine.dispose()
    assert [table["name"] for table in tables()] == ["second", "first"], "the newest first"
    assert [row["difference"] for row in tables()[0]["rows"]] == [None, 0.06, 0.01]
    assert tables()[0]["published_at"].endswith("Z")


@pytest.mark.parametrize("query", ["effect=0", "effect=2", "event_type=A%20B"])
def test_the_query_is_checked(tested: TestClient, query: str) -> None:
    assert tested.get(f"/experiments?{query}").status_code == 422

"""A/B tests: sticky assignment, shares, labels, metrics and the shadow."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from retort.serving.ab_tests.assignment import ABTest, Variant, assign, read_ab_test
from retort.serving.api.app import create_app
from retort.serving.models.bundles import load_bundle
from retort.serving.models.model_slots import open_model_slots
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.errors import RetortError
from retort.shared.base.settings import Settings
from retort.shared.history.store import MemoryHistory
from tests.serving._graphs import make_bundle
from tests.serving.conftest import MakeClient

TRIAL = ABTest(
    name="t",
    holdout=0.1,
    variants=(Variant(name="a", share=0.5), Variant(name="b", share=0.3), Variant(name="c", share=0.2)),
)


def write(path: Path, **experiment: Any) -> Path:
    path.write_bytes(orjson.dumps({"name": "trial", **experiment}))
    return path


def test_shares_hold_and_assignments_are_sticky() -> None:
    users = [f"user-{n}" for n in range(20_000)]
    places = [assign(TRIAL, "default", user, None) for user in users]
    counts = Counter(place.label for place in places if place)
    for label, share in {"holdout": 0.1, "a": 0.45, "b": 0.27, "c": 0.18}.items():
        assert counts[label] / len(users) == pytest.approx(share, abs=0.01)
    assert places == [assign(TRIAL, "default", user, "any session") for user in users]


def test_another_test_name_gives_an_independent_split() -> None:
    other = TRIAL.model_copy(update={"name": "u"})
    users = [f"user-{n}" for n in range(5_000)]

    def label(experiment: ABTest, user: str) -> str:
        place = assign(experiment, "default", user, None)
        assert place is not None
        return place.label

    in_a = [user for user in users if label(TRIAL, user) == "a"]
    assert sum(label(other, user) == "a" for user in in_a) / len(in_a) == pytest.approx(0.45, abs=0.04)


def test_anonymous_requests_and_other_tenants_are_not_assigned() -> None:
    assert assign(TRIAL, "default", None, None) is None
    assert assign(TRIAL, "other", "u", None) is None


@pytest.mark.parametrize(
    ("experiment", "sentence"),
    [
        ({"variants": [{"name": "a", "share": 0.5}]}, r"e\.json is invalid: the variants' shares must add up"),
        ({"variants": [{"name": "a", "share": 0.5}, {"name": "a", "share": 0.5}]}, "unique names"),
        ({"variants": [{"name": "a", "share": 1, "defaults": {"k": 3}}]}, "defaults"),
        ({"variants": [{"name": "a", "share": 1, "defaults": {"diversity": 7}}]}, "diversity"),
        ({"holdout": 1}, "holdout"),
        ({"colour": 1}, "colour"),
    ],
)
def test_an_invalid_ab_test_is_reported(tmp_path: Path, experiment: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RetortError, match=sentence):
        read_ab_test(write(tmp_path / "e.json", **experiment))
    with pytest.raises(RetortError, match="does not exist"):
        read_ab_test(tmp_path / "none.json")


def test_variants_are_served_and_counted_and_the_holdout_is_popular(make_client: MakeClient, tmp_path: Path) -> None:
    file = write(
        tmp_path / "e.json",
        holdout=0.3,
        variants=[
            {"name": "plain", "share": 0.5},
            {"name": "drama", "share": 0.5, "defaults": {"filter": {"genre": "drama"}}},
        ],
    )
    client = make_client(experiment=file)
    seen: Counter[str] = Counter()
    for n in range(60):
        request = {"user_id": f"u{n}", "k": 5, "fields": ["genre"]}
        client.post("/events", json={"user_id": f"u{n}", "item_id": "i7", "event_type": "purchase"})
        answer = client.post("/recommend", json=request).json()
        variant = answer["experiment"]["variant"]
        seen[variant] += 1
        genres = {item["fields"]["genre"] for item in answer["items"]}
        assert answer["experiment"]["name"] == "trial"
        assert (answer["source"] == "popular") == (variant == "holdout")
        assert (answer["fallback_reason"] == "holdout") == (variant == "holdout")
        if variant == "drama":
            assert genres == {"drama"}
            own = client.post("/recommend", json={**request, "filter": {"genre": "horror"}}).json()
            assert {item["fields"]["genre"] for item in own["items"]} == {"horror"}, "the request has the last word"
    assert set(seen) == {"plain", "drama", "holdout"}
    metrics = client.get("/metrics").text
    line = 'retort_variant_events_total{experiment="trial",type="purchase",variant="holdout"}'
    assert f"{line} {float(seen['holdout'])}" in metrics
    line = 'retort_exposures_total{experiment="trial",source="popular",variant="holdout"}'
    assert f"{line} {float(seen['holdout'])}" in metrics
    client.post("/recommend", json={"user_id": "u0", "dry_run": True})
    assert client.get("/metrics").text.count("retort_exposures_total{") == metrics.count("retort_exposures_total{")
    assert client.post("/recommend", json={"history": ["i1"]}).json()["experiment"] is None


def test_a_variant_may_be_another_bundle_and_a_shadow_is_only_counted(bundle_path: Path, tmp_path: Path) -> None:
    file = write(
        tmp_path / "e.json",
        variants=[{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5, "alias": "challenger"}],
        shadow={"alias": "challenger"},
    )
    serving = ServingSettings(_env_file=None, bundle=bundle_path, experiment=file)
    models = open_model_slots(serving)
    challenger = load_bundle(make_bundle(tmp_path, seed=5, name="other"))
    app = create_app(Settings(_env_file=None, retort_home=tmp_path), serving, models=models, histories=MemoryHistory())
    with TestClient(app) as client:
        first = client.post("/recommend", json={"user_id": "u1"}).json()
        assert first["model"]["name"] == "tiny", "an alias without a bundle is answered by the server's own"
        models.slot("default", "challenger").current = challenger
        names = {}
        for n in range(30):
            client.post("/events", json={"user_id": f"u{n}", "item_id": "i7"})
            answer = client.post("/recommend", json={"user_id": f"u{n}"}).json()
            names.setdefault(answer["experiment"]["variant"], set()).add(answer["model"]["name"])
        assert names == {"old": {"tiny"}, "new": {"other"}}
        time.sleep(0.05)
        metrics = client.get("/metrics").text
        assert 'retort_shadows_total{outcome="no_bundle"} 1.0' in metrics
        assert 'retort_shadows_total{outcome="same"}' in metrics
        assert 'retort_shadows_total{outcome="differs"}' in metrics


def test_a_shadow_gets_the_request_with_the_variants_settings(bundle_path: Path, tmp_path: Path) -> None:
    file = write(
        tmp_path / "e.json",
        holdout=0.3,
        variants=[{"name": "drama", "share": 1, "defaults": {"filter": {"genre": "drama"}}}],
        shadow={"alias": "challenger"},
    )
    serving = ServingSettings(_env_file=None, bundle=bundle_path, experiment=file)
    models = open_model_slots(serving)
    models.slot("default", "challenger").current = load_bundle(bundle_path)
    app = create_app(Settings(_env_file=None, retort_home=tmp_path), serving, models=models, histories=MemoryHistory())
    with TestClient(app) as client:
        compared = 0
        for n in range(20):
            client.post("/events", json={"user_id": f"u{n}", "item_id": "i7"})
            answer = client.post("/recommend", json={"user_id": f"u{n}"}).json()
            compared += answer["experiment"]["variant"] == "drama"
        assert 0 < compared < 20
    outcomes = [line for line in app.services.metrics.render().decode().splitlines() if "retort_shadows_total{" in line]
    assert outcomes == [f'retort_shadows_total{{outcome="same"}} {float(compared)}'], "the holdout says nothing of it"


def test_an_incompatible_variant_is_refused_and_its_users_get_the_default(
    make_client: MakeClient, tmp_path: Path
) -> None:
    wrong = {"odd caps": {"caps": {"colour": 1}}, "odd filter": {"filter": {"colour": "red"}}}
    for number, defaults in enumerate(wrong.values()):
        variants = [{"name": "plain", "share": 0.5}, {"name": "odd", "share": 0.5, "defaults": defaults}]
        client = make_client(experiment=write(tmp_path / f"{number}.json", variants=variants))
        (slot,) = client.get("/models").json()["models"]
        assert [refusal["where"] for refusal in slot["refusals"]] == ["experiment trial, variant odd"]
        assert "colour" in slot["refusals"][0]["reason"]
        seen: Counter[str | None] = Counter()
        for n in range(20):
            client.post("/events", json={"user_id": f"u{n}", "item_id": "i7"})
            response = client.post("/recommend", json={"user_id": f"u{n}"})
            assert (response.status_code, response.json()["source"]) == (200, "student")
            experiment = response.json()["experiment"]
            seen[experiment and experiment["variant"]] += 1
        assert set(seen) == {"plain", None}, "who got no variant is no variant's user"
        metrics = client.get("/metrics").text
        assert 'retort_variants_refused_total{experiment="trial",variant="odd"} 1.0' in metrics
        assert 'type="click",variant="odd"' not in metrics


def test_a_variants_bundle_is_checked_before_it_serves(bundle_path: Path, tmp_path: Path) -> None:
    file = write(
        tmp_path / "e.json",
        variants=[
            {"name": "old", "share": 0.5},
            {"name": "new", "share": 0.5, "alias": "challenger", "defaults": {"caps": {"colour": 1}}},
        ],
    )
    serving = ServingSettings(_env_file=None, bundle=bundle_path, experiment=file)
    models = open_model_slots(serving)
    app = create_app(Settings(_env_file=None, retort_home=tmp_path), serving, models=models, histories=MemoryHistory())
    slot = models.slot("default", "challenger")
    assert not slot.refusals
    slot.swap(make_bundle(tmp_path, seed=5, name="other"))
    assert [refusal.where for refusal in slot.refusals] == ["experiment trial, variant new"]
    with TestClient(app) as client:
        answers = [client.post("/recommend", json={"user_id": f"u{n}"}).json() for n in range(20)]
    assert {answer["model"]["name"] for answer in answers} == {"tiny"}
    assert {answer["experiment"] and answer["experiment"]["variant"] for answer in answers} == {"old", None}

"""Filters, candidates, boosts, pins, caps, diversity, paging and fields of a request."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from retort.serving.catalogue.filters import MAX_CONDITIONS, MAX_DEPTH
from retort.shared.model.bundle import open_bundle
from tests.serving._graphs import item_table, make_bundle
from tests.serving.conftest import MakeClient

ROWS = {row["item_id"]: row for row in item_table(60).to_pylist()}
ALL = list(ROWS)
HISTORY = ["i1", "i2"]


def ask(client: TestClient, **request: Any) -> dict[str, Any]:
    response = client.post("/recommend", json={"history": HISTORY, **request})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


@pytest.fixture
def ranking(client: TestClient) -> list[str]:
    """The student's whole list for HISTORY."""
    return ids(ask(client, k=500))


def test_a_filter_is_applied_inside_the_ranking(client: TestClient, ranking: list[str]) -> None:
    answer = ask(client, k=5, filter={"genre": "drama"})
    assert ids(answer) == [item for item in ranking if ROWS[item]["genre"] == "drama"][:5]
    assert (answer["source"], answer["fallback_reason"]) == ("student", None)


def test_only_candidates_are_ranked(client: TestClient, ranking: list[str]) -> None:
    wanted = ["i9", "i4", "i33", "i1", "strange"]
    answer = ask(client, k=5, candidates=wanted)
    assert ids(answer) == [item for item in ranking if item in wanted]
    assert answer["fallback_reason"] == "not_enough_items"
    assert ids(ask(client, candidates=[])) == []


def test_strict_filter_decides_the_result_of_a_filter_without_matches(client: TestClient) -> None:
    for history in (HISTORY, []):
        strict = ask(client, history=history, filter={"genre": "none"}, strict_filter=True)
        assert (ids(strict), strict["source"], strict["fallback_reason"]) == ([], "none", "filter_matches_nothing")
        kind = ask(client, history=history, filter={"genre": "none"}, k=3)
        assert (kind["source"], kind["fallback_reason"]) == ("popular", "filter_matches_nothing")
        assert len(ids(kind)) == 3
        assert not set(ids(kind)) & set(history)


@pytest.mark.parametrize("history", [HISTORY, []])
def test_the_fallback_of_a_filter_without_matches_can_be_paged(client: TestClient, history: list[str]) -> None:
    asked: dict[str, Any] = {"history": history, "filter": {"genre": "none"}}
    first = ask(client, k=3, **asked)
    second = ask(client, k=3, next=first["next"], **asked)
    assert (second["source"], second["fallback_reason"]) == ("popular", "filter_matches_nothing")
    assert ids(first) + ids(second) == ids(ask(client, k=6, **asked))
    assert second["items"][0]["rank"] == 4


@pytest.mark.parametrize("history", [HISTORY, []])
def test_a_filtered_list_ends_after_the_last_match(client: TestClient, history: list[str]) -> None:
    asked: dict[str, Any] = {"history": history, "filter": {"genre": "drama"}}
    everything = ids(ask(client, k=60, **asked))
    first = ask(client, k=len(everything), **asked)
    assert ids(ask(client, k=3, next=first["next"], **asked)) == []


def test_the_fallback_applies_the_filter(client: TestClient) -> None:
    answer = ask(client, history=[], filter={"genre": "horror"}, k=4)
    assert answer["source"] == "popular"
    assert ids(answer) == [item for item in ALL if ROWS[item]["genre"] == "horror"][:4]


def test_a_segment_is_used_for_unknown_users(client: TestClient) -> None:
    answer = ask(client, history=[], segment={"tags": "t3"}, k=3)
    assert answer["source"] == "popular_in_segment"
    assert ids(answer) == [item for item in ALL if "t3" in (ROWS[item]["tags"] or [])][:3]
    both = ask(client, history=[], segment={"tags": "t3"}, filter={"genre": "drama"}, k=3)
    assert all("t3" in ROWS[item]["tags"] and ROWS[item]["genre"] == "drama" for item in ids(both))
    assert ask(client, history=[], segment={"genre": "none"})["source"] == "popular"
    assert ask(client, segment={"tags": "t3"})["source"] == "student"


def test_segments_and_filters_have_separate_limits(client: TestClient) -> None:
    filter: dict[str, Any] = {"genre": "drama"}
    for _ in range(MAX_DEPTH - 1):
        filter = {"all": [filter]}
    many = {"any": [{"tags": "t3"}] * MAX_CONDITIONS}
    for history in (HISTORY, []):
        answer = ask(client, history=history, filter=filter, segment=many, k=2)
        assert all(ROWS[item]["genre"] == "drama" for item in ids(answer))


@pytest.mark.parametrize("history", [HISTORY, []])
def test_an_invalid_segment_is_always_reported(client: TestClient, history: list[str]) -> None:
    response = client.post("/recommend", json={"history": history, "segment": {"colour": "red"}})
    assert response.status_code == 422
    assert response.json()["errors"][0]["where"] == "segment.colour"


def test_boosts_and_buries_move_items(client: TestClient, ranking: list[str]) -> None:
    drama = {"genre": "drama"}
    boosted = ids(ask(client, k=60, boost=[{"filter": drama, "by": 1000}]))
    assert boosted == sorted(ranking, key=lambda item: ROWS[item]["genre"] != "drama")
    buried = ids(ask(client, k=60, bury=[{"filter": drama, "by": 1000}]))
    assert buried == sorted(ranking, key=lambda item: ROWS[item]["genre"] == "drama")
    assert ids(ask(client, k=60, boost=[{"filter": drama, "by": 2}], bury=[{"filter": drama, "by": 2}])) == ranking


def test_pins_keep_their_positions(client: TestClient, ranking: list[str]) -> None:
    last, second_last = ranking[-1], ranking[-2]
    pins = [{"item_id": last, "position": 1}, {"item_id": second_last, "position": 3}]
    answer = ask(client, k=5, pins=pins, explain=True)
    assert ids(answer) == [last, ranking[0], second_last, ranking[1], ranking[2]]
    assert [item["score"] is None for item in answer["items"]] == [True, False, True, False, False]
    assert answer["items"][0]["reason"] == {"kind": "pinned"}


def test_more_pins_than_positions_do_not_extend_the_list(client: TestClient) -> None:
    answer = ask(client, k=3, pins=[{"item_id": f"i{n}", "position": 1} for n in range(10, 20)])
    assert len(ids(answer)) == 3
    assert set(ids(answer)) <= {f"i{n}" for n in range(10, 20)}
    assert answer["next"] is not None


def test_exclusions_and_filters_take_precedence_over_pins(client: TestClient, ranking: list[str]) -> None:
    pinned = [{"item_id": item, "position": 1} for item in ("i1", "strange", ranking[9])]
    assert ids(ask(client, k=3, pins=pinned, exclude=[ranking[9]])) == ranking[:3]
    assert ids(ask(client, k=3, pins=[{"item_id": "i50", "position": 1}], filter={"available": True}))[0] != "i50"


def test_caps_hold_and_the_list_is_full(client: TestClient, ranking: list[str]) -> None:
    answer = ask(client, k=6, caps={"genre": 2})
    counts = Counter(ROWS[item]["genre"] for item in ids(answer))
    assert counts == {"drama": 2, "comedy": 2, "horror": 2}
    assert ids(ask(client, k=6, caps={"year": 1})) == _capped(ranking, "year", 1)[:6]
    short = ask(client, k=10, caps={"genre": 1})
    assert (len(ids(short)), short["fallback_reason"]) == (3, "not_enough_items")


def _capped(ranking: list[str], name: str, limit: int) -> list[str]:
    counts: Counter[Any] = Counter()
    kept = []
    for item in ranking:
        if counts[ROWS[item][name]] < limit:
            counts[ROWS[item][name]] += 1
            kept.append(item)
    return kept


def test_diversity_lowers_the_similarity_of_items(client: TestClient, bundle_path: Path, ranking: list[str]) -> None:
    bundle = open_bundle(bundle_path)
    vectors = bundle.item_vectors
    assert vectors is not None
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def likeness(items: list[str]) -> float:
        chosen = units[bundle.item_index.indexes(items)]
        return float((chosen @ chosen.T).mean())

    lists = [ids(ask(client, k=8, diversity=d)) for d in (0.0, 0.5, 0.9)]
    assert lists[0] == ranking[:8]
    assert likeness(lists[0]) > likeness(lists[1]) > likeness(lists[2])
    assert lists[2][0] == ranking[0], "the first is always the best"


def test_diversity_without_vectors_is_refused(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(bundle=make_bundle(tmp_path, with_vectors=False))
    response = client.post("/recommend", json={"history": HISTORY, "diversity": 0.5})
    assert response.status_code == 422
    assert ask(client, k=3, explain=True)["source"] == "student"


@pytest.mark.parametrize("history", [HISTORY, []])
def test_pages_have_no_repeats_to_the_end(client: TestClient, history: list[str]) -> None:
    seen: list[str] = []
    token, pages = None, 0
    while True:
        answer = ask(client, history=history, k=9, next=token, filter={"available": True})
        first = len(seen) + 1
        assert [item["rank"] for item in answer["items"]] == list(range(first, first + len(ids(answer))))
        seen += ids(answer)
        token, pages = answer["next"], pages + 1
        if token is None:
            break
    assert pages > 3
    whole = ask(client, history=history, k=60, filter={"available": True})
    assert seen == ids(whole)


@pytest.mark.parametrize("token", ["x", "AAAA", "!!!!", "AQ" * 6000, "AQAB"])
def test_a_foreign_token_is_refused(client: TestClient, token: str) -> None:
    assert client.post("/recommend", json={"history": HISTORY, "next": token}).status_code == 422


def test_item_fields_are_returned_on_request(client: TestClient) -> None:
    plain = ask(client, k=2)
    assert set(plain["items"][0]) == {"item_id", "score", "rank"}
    answer = ask(client, k=3, fields=["title", "genre", "tags", "year", "expires_at"])
    for item in answer["items"]:
        row = ROWS[item["item_id"]]
        assert item["fields"]["title"] == row["title"]
        assert item["fields"]["tags"] == row["tags"]
        assert item["fields"]["expires_at"].startswith(str(row["expires_at"].year))
    assert client.post("/recommend", json={"history": [], "fields": ["colour"]}).status_code == 422


def test_reasons_point_into_the_history(client: TestClient) -> None:
    answer = ask(client, k=5, explain=True)
    kinds = {item["reason"]["kind"] for item in answer["items"]}
    assert kinds <= {"like_your_history", "fits_your_sequence"}
    for item in answer["items"]:
        assert {one["item_id"] for one in item["reason"]["because"]} <= set(HISTORY)
    assert ask(client, history=[], explain=True)["items"][0]["reason"] == {"kind": "popular"}


@pytest.mark.parametrize(
    "request_",
    [{"caps": {"colour": 1}}, {"caps": {"genre": 0}}, {"filter": {"colour": 1}}, {"segment": {}, "history": []}],
)
def test_unknown_attributes_are_a_422(client: TestClient, request_: dict[str, Any]) -> None:
    assert client.post("/recommend", json={"history": HISTORY, **request_}).status_code == 422


item_ids = st.lists(st.sampled_from([*ALL, "strange"]), max_size=20)
filters = st.one_of(
    st.none(), st.just({"genre": "drama"}), st.just({"year": {"gte": 2000}}), st.just({"tags": ["t1", "t3"]})
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    history=item_ids,
    exclude=item_ids,
    candidates=st.one_of(st.none(), item_ids),
    filter=filters,
    k=st.integers(1, 70),
    diversity=st.sampled_from([0.0, 0.3]),
    caps=st.sampled_from([{}, {"genre": 3}]),
    pinned=item_ids,
    apart=st.booleans(),
)
def test_invariants_hold_for_any_request(
    client: TestClient,
    history: list[str],
    exclude: list[str],
    candidates: list[str] | None,
    filter: dict[str, Any] | None,
    k: int,
    diversity: float,
    caps: dict[str, int],
    pinned: list[str],
    apart: bool,
) -> None:
    request = {
        "history": history,
        "exclude": exclude,
        "candidates": candidates,
        "filter": filter,
        "strict_filter": True,
        "k": k,
        "diversity": diversity,
        "caps": caps,
        "pins": [{"item_id": item, "position": place if apart else 1} for place, item in enumerate(pinned, 1)],
    }
    answer = ask(client, **request)
    got = ids(answer)
    eligible = set(ALL) - set(history) - set(exclude)
    if candidates is not None:
        eligible &= set(candidates)
    if filter is not None:
        eligible = {item for item in eligible if _passes(ROWS[item], filter)}
    assert set(got) <= eligible, "never seen, excluded or filtered"
    assert len(got) == len(set(got)), "never twice"
    assert len(got) <= k
    if not caps:
        assert len(got) == min(k, len(eligible)), "k results whenever k exist"
    assert ids(ask(client, **request)) == got, "the same question has the same answer"


def _passes(row: dict[str, Any], filter: dict[str, Any]) -> bool:
    if "genre" in filter:
        return bool(row["genre"] == filter["genre"])
    if "year" in filter:
        return bool(row["year"] >= 2000)
    return bool(set(row["tags"] or []) & set(filter["tags"]))

"""Request bodies: what counts as a number."""

from typing import Any

import orjson
import pytest

from retort.serving.api.routes.kserve import parse_infer
from retort.serving.api.routes.new_items import NewItemsRequest
from retort.serving.api.routes.refreshes import RefreshRequest
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import parse_events, parse_recommend

_NOT_A_NUMBER = "true and false are not numbers; send a number"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("k", True),
        ("k", False),
        ("diversity", True),
        ("caps", {"genre": True}),
        ("pins", [{"item_id": "i1", "position": True}]),
        ("boost", [{"filter": {"genre": "drama"}, "by": True}]),
    ],
)
def test_true_and_false_are_not_numbers(field: str, value: Any) -> None:
    with pytest.raises(Problem, match=_NOT_A_NUMBER) as refused:
        parse_recommend(orjson.dumps({"history": ["i1"], field: value}))
    assert refused.value.status == 422
    assert refused.value.detail.startswith(field)


def test_true_is_no_number_on_other_routes_either() -> None:
    with pytest.raises(Problem, match=rf"value.*{_NOT_A_NUMBER}"):
        parse_events(b'{"user_id": "ann", "item_id": "i1", "value": true}')
    tensor = {"name": "history", "datatype": "BYTES", "shape": [1], "data": ["i1"]}
    for body in (
        {"inputs": [tensor], "parameters": {"k": True}},
        {"inputs": [{**tensor, "shape": [True]}]},
    ):
        with pytest.raises(Problem, match=_NOT_A_NUMBER):
            parse_infer(orjson.dumps(body), None)
    for field in ("budget_tokens", "budget_usd"):
        with pytest.raises(ValueError, match=_NOT_A_NUMBER):
            RefreshRequest.model_validate({"name": "shop", field: True})
    for rule in ("max_age_days", "min_new_events", "min_drift", "max_tokens"):
        with pytest.raises(ValueError, match=_NOT_A_NUMBER):
            RefreshRequest.model_validate({"name": "shop", "rules": {rule: True}})
    with pytest.raises(ValueError, match=_NOT_A_NUMBER):
        NewItemsRequest.model_validate({"items": [{"item_id": "new", "title": "New"}], "share": True})


@pytest.mark.parametrize("k", [3, 3.0, "3"])
def test_numbers_in_other_forms_stay_numbers(k: Any) -> None:
    assert parse_recommend(orjson.dumps({"history": ["i1"], "k": k})).k == 3


def test_a_control_character_in_an_id_is_a_422() -> None:
    with pytest.raises(Problem, match="user_id: String should match pattern"):
        parse_recommend(b'{"user_id": "ann\\u0000"}')

"""What an experiment file may say, and what it is refused for."""

from pathlib import Path
from typing import Any

import pytest

from retort.offline.experiments.plan import Plan
from retort.offline.experiments.plan_files import (
    check_comparability,
    parse_plan,
    read_plan,
    shipped_plans,
)
from retort.shared.base.errors import RecipeError

TINY = Path(__file__).parents[2] / "tiny.toml"


def plan(**changes: Any) -> Plan:
    """Two arms over the tiny recipe."""
    written = {
        "base": str(TINY),
        "baseline": "plain",
        "seeds": [0, 1],
        "arms": [
            {"name": "plain", "objectives": []},
            {"name": "text", "objectives": [{"name": "text_start"}]},
        ],
    }
    return parse_plan("tiny", {**written, **changes}, TINY.parent)


def test_an_arm_is_the_base_with_its_keys_changed() -> None:
    made = plan(set={"training.epochs": 3}).recipe("text", "sasrec", {"training.seed": 7})
    assert [one.name for one in made.objectives] == ["text_start"]
    assert (made.training.epochs, made.training.seed, made.protocol) == (3, 7, "refit")
    assert plan().recipe("plain", "sasrec", {}).is_plain


def test_another_student_keeps_the_keys_that_it_has_too() -> None:
    asked = plan(students=["sasrec", "gru4rec"], student_keys={"gru4rec": {"student.dropout": 0.4}})
    made = asked.recipe("plain", "gru4rec", {})
    assert (made.student_name, made.student.max_length) == ("gru4rec", 20)
    assert made.as_json()["student"]["dropout"] == 0.4
    assert asked.recipe("plain", "sasrec", {}).as_json()["student"]["dropout"] != 0.4


def test_an_arm_may_be_for_some_students_only() -> None:
    arms = [{"name": "plain", "objectives": []}, {"name": "text", "students": ["gru4rec"]}]
    rows = plan(students=["sasrec", "gru4rec"], arms=arms).rows
    assert rows == [("plain", "sasrec"), ("plain", "gru4rec"), ("text", "gru4rec")]


def test_every_arm_searches_equally_long() -> None:
    arms = [{"name": "plain", "objectives": []}, {"name": "text", "trials": [{}, {"student.dropout": 0.1}]}]
    with pytest.raises(RecipeError, match=r"has 2 trial.s. and the baseline 1"):
        plan(arms=arms)
    fewer = [{"name": "plain", "objectives": [], "trials": [{}, {}]}, {"name": "text"}]
    with pytest.raises(RecipeError, match=r"has 1 trial.s. and the baseline 2"):
        plan(arms=fewer)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"baseline": "best"}, "is no arm"),
        ({"arms": [{"name": "plain"}, {"name": "plain"}]}, "two arms"),
        ({"arms": [{"name": "plain"}, {"name": "noise", "of": "plain"}]}, "control = true"),
        ({"arms": [{"name": "plain"}, {"name": "noise", "control": True, "of": "text"}]}, "name of another arm"),
        ({"arms": [{"name": "plain"}, {"name": "noise", "control": True, "of": []}]}, "name of another arm"),
        ({"arms": [{"name": "plain"}, {"name": "a", "control": True, "of": ["plain", "b"]}]}, "name of another arm"),
        ({"student_keys": {"gru4rec": {}}}, "for no student"),
        ({"arms": [{"name": "plain"}, {"name": "text", "students": ["gru4rec"]}]}, "students of this file: sasrec"),
        (
            {
                "students": ["sasrec", "gru4rec"],
                "arms": [{"name": "plain", "students": ["sasrec"]}, {"name": "text", "students": ["gru4rec"]}],
            },
            "give 'plain' that student",
        ),
        ({"views": [{"name": "longer", "set": {"training.epochs": 9}}]}, "a view evaluates the same weights"),
        ({"search": {"trials": [{"evaluation.hide_seen": False}]}}, "would change what is evaluated"),
        ({"set": {"training.refit_epochs": 3}}, "an experiment sets"),
        ({"seedz": [1]}, "no key"),
        ({"search": {"trials": [{"training.epochz": 3}]}}, "no key"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        plan(**changes)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"split.train_share": 0.5}, "another split"),
        ({"evaluation.hide_seen": False}, "another evaluation"),
        ({"data.k_core": 2}, "another data"),
        ({"training.epochs": 99}, "may train 99 epochs and the baseline"),
    ],
)
def test_arms_are_asked_the_same_and_none_trains_longer(keys: dict[str, Any], sentence: str) -> None:
    arms = [{"name": "plain", "objectives": []}, {"name": "text", "objectives": [{"name": "text_start"}]}]
    check_comparability(plan(arms=arms))
    check_comparability(plan(arms=arms, set=keys))
    with pytest.raises(RecipeError, match=sentence):
        check_comparability(plan(arms=[arms[0], {**arms[1], "set": keys}]))


def test_an_arm_may_read_other_texts_and_train_less() -> None:
    arms = [{"name": "plain", "objectives": [], "trials": [{"training.epochs": 9}]}]
    arms += [{"name": "text", "set": {"data.text_template": "{title}", "training.epochs": 4}}]  # type: ignore[list-item]
    check_comparability(plan(arms=arms))


@pytest.mark.parametrize("name", shipped_plans())
def test_shipped_experiments_are_valid_and_have_controls(name: str) -> None:
    shipped = read_plan(Path(name))
    check_comparability(shipped)
    assert shipped.config.description
    assert len(shipped.config.seeds) >= 5 or "smoke" in name
    for arm in shipped.config.arms:
        assert shipped.recipe(arm.name, shipped.students[0], {}).protocol in ("held", "refit")


def test_overrides_make_another_experiment_with_a_name_of_its_own() -> None:
    changed = read_plan(Path("beauty_headline"), ["split.train_share=0.25"], "quarter")
    assert changed.name == "quarter"
    assert changed.command == "run beauty_headline --set split.train_share=0.25 --name quarter"
    for arm in changed.arms:
        assert changed.recipe(arm, "sasrec", {}).split.train_share == 0.25
    with pytest.raises(RecipeError, match="--name"):
        read_plan(Path("beauty_headline"), ["split.train_share=0.25"])


def test_an_unknown_experiment_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is no experiment"):
        read_plan(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match="beauty_headline"):
        read_plan(Path("beauty_headlines"))

"""Prompt plans of histories beyond the context: halving, merging, updating; every prompt is measured."""

from collections.abc import Callable
from itertools import chain, pairwise

import pytest

from retort.offline.profiles.backends._base import Prompt
from retort.offline.profiles.prompt import PromptWriter
from retort.offline.profiles.prompt_plan import PromptPlan, plan_combination, plan_profile
from retort.shared.base.errors import ProfileError
from tests.offline.profiles._fakes import events

WRITER = PromptWriter("long", "movies")


def run(steps: PromptPlan, answer: Callable[[Prompt], str]) -> tuple[str, list[Prompt]]:
    asked: list[Prompt] = []
    waiting = next(steps)
    while True:
        asked += waiting
        try:
            waiting = steps.send([answer(prompt) for prompt in waiting])
        except StopIteration as ended:
            return ended.value, asked


def titles(prompt: Prompt) -> list[str]:
    return [event.facts.title for event in prompt.events]


def joined(parts: list[list[str]]) -> list[str]:
    return list(chain.from_iterable(parts))


def shorter_than(n: int) -> Callable[[Prompt], bool]:
    """A context that holds n letters of events and profiles."""
    return lambda prompt: len("".join(titles(prompt))) * (prompt.task != "merge") + len("".join(prompt.parts)) <= n


def test_one_call_where_all_fits() -> None:
    for mode in ("agg_after", "agg_with"):
        text, asked = run(plan_profile(WRITER, events(9), mode, lambda _: True), lambda _: "profile")  # type: ignore[arg-type]
        assert (text, [one.task for one in asked]) == ("profile", ["write"])


def test_agg_after_halves_until_it_fits_and_merges_in_time_order() -> None:
    fits = shorter_than(3 * 8)
    text, asked = run(
        plan_profile(WRITER, events(10), "agg_after", fits), lambda prompt: f"{prompt.task[0]}{titles(prompt)[0][-2:]}"
    )
    written = [titles(one) for one in asked if one.task == "write"]
    assert joined(written) == [event.facts.title for event in events(10)]
    assert all(len(part) <= 3 for part in written)
    merges = [one for one in asked if one.task == "merge"]
    assert [one.parts for one in merges] == [("w00", "w02", "w05", "w07")]
    assert titles(merges[0]) == joined(written)
    assert text == "m00"


def test_merging_prompt_that_is_too_long_is_halved_too() -> None:
    fits = shorter_than(24)
    _, asked = run(plan_profile(WRITER, events(24), "agg_after", fits), lambda prompt: "p" * 7)
    assert all(fits(one) for one in asked)
    assert len([one for one in asked if one.task == "merge"]) > 1


def test_agg_with_carries_the_profile_in_order() -> None:
    fits = shorter_than(30)
    text, asked = run(
        plan_profile(WRITER, events(10), "agg_with", fits), lambda prompt: f"upto{titles(prompt)[-1][-2:]}"
    )
    assert [one.task for one in asked] == ["write", *["update"] * (len(asked) - 1)]
    assert joined([titles(one) for one in asked]) == [event.facts.title for event in events(10)]
    for before, after in pairwise(asked):
        assert after.parts == (f"upto{titles(before)[-1][-2:]}",)
    assert all(fits(one) for one in asked)
    assert text == "upto09"


@pytest.mark.parametrize("mode", ["agg_after", "agg_with"])
def test_event_that_never_fits_is_reported(mode: str) -> None:
    with pytest.raises(ProfileError, match="single event does not fit"):
        run(plan_profile(WRITER, events(4), mode, lambda _: False), lambda _: "p")  # type: ignore[arg-type]


def test_two_profiles_that_do_not_fit_together_are_reported() -> None:
    with pytest.raises(ProfileError, match="max_output_tokens"):
        run(plan_profile(WRITER, events(4), "agg_after", shorter_than(16)), lambda _: "p" * 40)


def test_combination_is_measured() -> None:
    parts = {"genres": "Comedies.", "themes": "Dogs."}
    text, (asked,) = run(plan_combination(WRITER, parts, events(3), lambda _: True), lambda _: "both")
    assert (text, asked.task, asked.parts) == ("both", "combine", ("Comedies.", "Dogs."))
    with pytest.raises(ProfileError, match="2 aspects"):
        run(plan_combination(WRITER, parts, events(3), lambda _: False), lambda _: "both")

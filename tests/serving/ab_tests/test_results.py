"""Results of an A/B test: the intervals hold what they promise, and the days follow from the error."""

import math

import numpy as np
import pytest

from retort.serving.ab_tests.results import Units, compare_arms, split_p, units_of


def users(random: np.random.Generator, n_users: int, rate: float) -> Units:
    """Users who see 1 to 20 lists and differ in how often they click."""
    lists = random.integers(1, 21, n_users)
    own = np.clip(random.normal(rate, rate / 2, n_users), 0, 1)
    return Units(lists.astype(float), random.binomial(lists, own).astype(float))


def test_the_interval_of_an_a_a_test_holds_zero_in_95_of_100() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        units = {"a": users(random, 300, 0.2), "b": users(random, 300, 0.2)}
        b = compare_arms(units, ["a", "b"], by_user=True, days=1.0, effect=0.05)[1]
        assert b.difference_low is not None
        assert b.difference_high is not None
        held += b.difference_low <= 0 <= b.difference_high
    assert 0.92 <= held / 400 <= 0.98


def test_lists_as_units_give_the_interval_of_two_proportions() -> None:
    clicked = np.zeros(1000)
    clicked[:100] = 1
    more = np.zeros(2000)
    more[:300] = 1
    units = {"a": Units(np.ones(1000), clicked), "b": Units(np.ones(2000), more)}
    a, b = compare_arms(units, ["a", "b"], by_user=False, days=None, effect=0.05)
    error = math.sqrt(0.1 * 0.9 / 1000 + 0.15 * 0.85 / 2000)
    assert (a.rate, a.users, a.difference, b.difference) == (0.1, None, None, pytest.approx(0.05))
    assert b.difference_low == pytest.approx(0.05 - 1.96 * error, rel=1e-3)
    assert b.days_needed is None


def test_four_times_the_traffic_halves_the_detectable_effect() -> None:
    random = np.random.default_rng(1)
    units = {"a": users(random, 500, 0.2), "b": users(random, 500, 0.2)}
    small, large = (
        compare_arms(units, ["a", "b"], by_user=True, days=10.0, effect=effect)[1].days_needed
        for effect in (0.01, 0.02)
    )
    assert small is not None
    assert large is not None
    assert (small + 10) == pytest.approx(4 * (large + 10))
    assert compare_arms(units, ["a", "b"], by_user=True, days=10.0, effect=1.0)[1].days_needed == 0.0


def test_a_variant_without_lists_has_no_rate() -> None:
    a, b = compare_arms({}, ["a", "b"], by_user=True, days=1.0, effect=0.05)
    assert (a.rate, b.difference, b.users) == (None, None, 0)


def test_clicks_of_lists_that_are_not_stored_are_left_out() -> None:
    units = units_of([("a", "ann", 2), ("a", "bob", 1)], [("a", "ann"), ("a", "eve"), ("b", "ann")])
    assert units["a"].lists.tolist() == [2, 1]
    assert units["a"].clicks.tolist() == [1, 0]
    assert len(units["b"].lists) == 0


@pytest.mark.parametrize(
    ("counts", "shares", "low", "high"),
    [
        ({"a": 500, "b": 500}, {"a": 0.5, "b": 0.5}, 0.99, 1.0),
        ({"a": 530, "b": 470}, {"a": 0.5, "b": 0.5}, 0.055, 0.061),  # χ² = 3.6
        ({"a": 700, "b": 300}, {"a": 0.5, "b": 0.5}, 0.0, 1e-6),
        ({"a": 330, "b": 370, "c": 300}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 0.023, 0.027),  # χ² = 7.4
    ],
)
def test_a_split_is_tested_against_its_shares(
    counts: dict[str, int], shares: dict[str, float], low: float, high: float
) -> None:
    p = split_p(counts, shares)
    assert p is not None
    assert low <= p <= high


def test_few_users_are_not_tested() -> None:
    assert split_p({"a": 3, "b": 4}, {"a": 0.5, "b": 0.5}) is None

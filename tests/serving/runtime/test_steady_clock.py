"""A jump of the clock is followed only after it has lasted."""

import pytest

from retort.serving.runtime.steady_clock import ACCEPT_AFTER_S, SteadyClock

YEAR_S = 365 * 86_400.0


class Machine:
    """A machine whose two clocks a test moves."""

    def __init__(self) -> None:
        self.monotonic_s = 50.0
        self.ahead_s = 1_700_000_000.0
        self.jumps = 0

    def clock(self) -> SteadyClock:
        return SteadyClock(self.count, wall=lambda: self.monotonic_s + self.ahead_s, monotonic=lambda: self.monotonic_s)

    def count(self) -> None:
        self.jumps += 1


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S, 3600.0, -60.0])
def test_a_jump_is_counted_once_and_not_followed_until_it_has_lasted(jump_s: float) -> None:
    machine = Machine()
    now = machine.clock()
    before_s = now()
    machine.ahead_s += jump_s
    machine.monotonic_s += 10
    assert now() == now() == pytest.approx(before_s + 10)
    assert machine.jumps == 1
    machine.monotonic_s += ACCEPT_AFTER_S
    now()
    assert now() == pytest.approx(before_s + 10 + ACCEPT_AFTER_S + jump_s)
    assert machine.jumps == 1


def test_a_jump_and_its_reversal_have_no_effect() -> None:
    machine = Machine()
    now = machine.clock()
    before_s = now()
    times_s = []
    for jump_s in (YEAR_S, -YEAR_S, -YEAR_S, YEAR_S):
        machine.ahead_s += jump_s
        machine.monotonic_s += 1
        times_s.append(now() - before_s)
    assert times_s == pytest.approx([1, 2, 3, 4])
    assert machine.jumps == 2


def test_small_corrections_are_followed_at_once() -> None:
    machine = Machine()
    now = machine.clock()
    before_s = now()
    for _ in range(20):
        machine.ahead_s += 4.0
    assert now() == pytest.approx(before_s), "eighty seconds in one step are a jump"
    machine = Machine()
    now = machine.clock()
    before_s = now()
    for _ in range(20):
        machine.ahead_s += 4.0
        now()
    assert now() == pytest.approx(before_s + 80)
    assert machine.jumps == 0

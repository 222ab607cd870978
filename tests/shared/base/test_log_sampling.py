"""Equal log lines are sampled; other lines are not."""

import logging

from retort.shared.base.logging import SamplingFilter


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def line(message: str, *arguments: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "retort", "levelno": level, "msg": message, "args": arguments, **extra})


def test_a_flood_of_equal_lines_is_sampled_and_its_size_is_logged() -> None:
    clock = Clock()
    sampling = SamplingFilter(burst=5, every_s=10.0, clock=clock)
    passed = []
    for number in range(7464):  # one minute
        clock.now_s = number * 60 / 7464
        record = line("degraded answer", source="popular", reason="unknown_user", request_id=str(number))
        if sampling.filter(record):
            passed.append(record)
    assert len(passed) == 30
    dropped = sum(getattr(record, "dropped", 0) for record in passed)
    assert 7464 - 30 - 7464 / 6 - 1 <= dropped <= 7464 - 30


def test_lines_of_other_kinds_all_pass() -> None:
    sampling = SamplingFilter(burst=1, clock=Clock())
    assert sampling.filter(line("degraded answer", reason="unknown_user"))
    assert not sampling.filter(line("degraded answer", reason="unknown_user"))
    assert sampling.filter(line("degraded answer", reason="deadline"))
    assert sampling.filter(line("degraded answer", reason="unknown_user", level=logging.ERROR))
    assert sampling.filter(line("bundle serves"))


def test_a_kind_is_the_message_without_its_arguments() -> None:
    sampling = SamplingFilter(burst=1, clock=Clock())
    assert [sampling.filter(line("user %s", name)) for name in "abc"] == [True, False, False]


def test_many_kinds_do_not_fill_the_memory() -> None:
    sampling = SamplingFilter(clock=Clock())
    for number in range(5000):
        assert sampling.filter(line(f"line {number}"))
    assert len(sampling._kinds) <= 1000

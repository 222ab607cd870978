"""Five logs of different shapes end by one command in a personalised answer over HTTP."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e._quickstart import quickstart
from tests.e2e._shops import (
    Shop,
    cyrillic_titles,
    gzip_tabs_of_two_million,
    milliseconds_without_header,
    parquet_with_event_types,
    semicolons_and_german_dates,
)

_LIMIT_S = 300.0


@pytest.mark.long
@pytest.mark.parametrize(
    ("write", "limit_s"),
    [
        (semicolons_and_german_dates, _LIMIT_S),
        (milliseconds_without_header, _LIMIT_S),
        (parquet_with_event_types, _LIMIT_S),
        (gzip_tabs_of_two_million, 3 * _LIMIT_S),
        (cyrillic_titles, _LIMIT_S),
    ],
)
def test_a_log_of_any_shape_ends_in_a_personalised_answer(
    write: Callable[[Path], Shop], limit_s: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = write(tmp_path)
    started = time.monotonic()
    with quickstart(tmp_path, [*shop.files, "--minutes", "5"]) as command:
        command.wait_for("Serving until Ctrl-C", limit_s)
        took_s = time.monotonic() - started
        answers = [command.recommend(user_id) for user_id in shop.users]
        assert command.interrupt() == 0, command.output
    with capsys.disabled():
        print(f"\n{write.__name__}: {took_s:.0f} s")
    assert took_s < limit_s
    for taste, answer in enumerate(answers):
        assert answer["source"] == "student"
        items = answer["items"]
        assert isinstance(items, list)
        assert [shop.taste_of(item["item_id"]) for item in items].count(taste) >= 9, command.output

"""JSON logs are one object a line and contain the id of their request."""

import asyncio
import io
import logging
from collections.abc import Iterator

import orjson
import pytest

from retort.shared.base import logging as logs

logger = logging.getLogger("tests.logs")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    # pytest's own handlers are taken out by `force`, not closed: they come back below.
    monkeypatch.setattr(root, "handlers", [])
    logs.configure_logging("INFO", as_json=True)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_each_line_carries_the_request_that_it_was_written_for(lines: io.StringIO) -> None:
    async def request(name: str) -> None:
        logs.request_id.set(name)
        await asyncio.sleep(0.01)
        logger.info("worked", extra={"stage": "queue"})

    async def story() -> None:
        await asyncio.gather(request("a"), request("b"))
        logger.warning("nobody asked")
        logger.info("told", extra={"request_id": "own"})

    asyncio.run(story())
    written = [orjson.loads(line) for line in lines.getvalue().splitlines()]
    assert sorted(line.get("request_id", "-") for line in written) == ["-", "a", "b", "own"]
    assert {line["stage"] for line in written if line["message"] == "worked"} == {"queue"}


def test_a_failure_is_logged_with_its_trace(lines: io.StringIO) -> None:
    try:
        raise KeyError("gone")
    except KeyError:
        logger.exception("failed")
    (line,) = map(orjson.loads, lines.getvalue().splitlines())
    assert (line["level"], line["logger"], line["message"]) == ("ERROR", "tests.logs", "failed")
    assert "KeyError: 'gone'" in line["exception"]


def test_a_text_line_contains_the_extra_values() -> None:
    told = {"msg": "degraded answer", "reason": "deadline", "request_id": "r1", "name": "serving", "levelname": "INFO"}
    line = logs.TextFormatter().format(logging.makeLogRecord(told))
    assert line.endswith("INFO serving: degraded answer reason=deadline request_id=r1")


def test_the_message_is_not_repeated_with_colours() -> None:
    record = logging.makeLogRecord({"msg": "Started", "color_message": "\x1b[36mStarted"})
    for formatter in (logs.TextFormatter(), logs.JsonFormatter()):
        line = formatter.format(record)
        assert line.count("Started") == 1
        assert "color_message" not in line

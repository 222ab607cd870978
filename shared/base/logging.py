"""Logging: text for people or JSON for machines, configured once in the entry point."""

import logging
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

# Kinds of lines that are counted; a message with an id in it would be a kind of its own.
_MAX_KINDS = 1000
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",  # uvicorn's message once more, with terminal colours
}


# Id of the current request: set where a request arrives, added to every log line written for it.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class RequestIdFilter(logging.Filter):
    """Log filter that adds the id of the current request to records without one."""

    def filter(self, record: logging.LogRecord) -> bool:
        current = request_id.get()
        if current is not None and not hasattr(record, "request_id"):
            record.request_id = current
        return True


class SamplingFilter(logging.Filter):
    """Log filter that passes few of many equal lines, for programs that log a line for a request.

    Lines are equal when logger, level, message, `source` and `reason` are. The next line that passes carries the number
    of dropped ones as `dropped`.

    Args:
        burst: Equal lines that pass within `every_s`.
    """

    def __init__(self, burst: int = 5, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._burst = burst
        self._every_s = every_s
        self._clock = clock
        # by kind: start of the present period, lines in it, lines dropped since the last one that passed
        self._kinds: dict[tuple[object, ...], list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = (
            record.name,
            record.levelno,
            record.msg,
            getattr(record, "source", None),
            getattr(record, "reason", None),
        )
        if len(self._kinds) >= _MAX_KINDS and kind not in self._kinds:
            self._kinds.clear()
        now_s = self._clock()
        state = self._kinds.setdefault(kind, [now_s, 0, 0])
        if now_s - state[0] >= self._every_s:
            state[0], state[1] = now_s, 0
        if state[1] >= self._burst:
            state[2] += 1
            return False
        state[1] += 1
        if state[2]:
            record.dropped = int(state[2])
            state[2] = 0
        return True


class TextFormatter(logging.Formatter):
    """Formatter of text lines; `extra=` values follow the message as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        extra = "".join(f" {name}={value}" for name, value in _extra(record).items())
        return super().formatMessage(record) + extra


class JsonFormatter(logging.Formatter):
    """Formatter of JSON lines; `extra=` values become fields of the object."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= _extra(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def configure_logging(level: str, *, as_json: bool, sampled: bool = False) -> None:
    """Send this process's logs to standard error.

    Args:
        sampled: Drop most of many equal lines.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    handler.addFilter(RequestIdFilter())
    if sampled:
        handler.addFilter(SamplingFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)

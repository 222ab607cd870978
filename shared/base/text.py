"""Text from outside: what may be stored and printed anywhere (SQLite, PostgreSQL, Redis, JSON, terminals).

SQLite and UTF-8 refuse lone surrogates, PostgreSQL refuses NUL, and control characters change terminals and logs. Prose
is cleaned, because the rest of it is worth keeping. An id is refused, because another id would be another user.
"""

import json
import re
from typing import Any

import orjson

# Control characters besides tab and line ends; the syntax is that of Python, Rust (polars, pydantic) and ECMAScript.
CONTROLS_IN_PROSE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
# Control characters, line and paragraph separators; Python alone knows lone surrogates.
FORBIDDEN_IN_IDS = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
ID_PATTERN = rf"^[^{FORBIDDEN_IN_IDS[1:-1]}]+$"

# At least one visible character, and no NUL, which PostgreSQL cannot store.
VISIBLE_TEXT = r"^[^\x00]*[^\s\x00-\x1f\x7f-\x9f][^\x00]*$"

# how programs write a missing value; the data steps take such an id for a missing one and reject its event
MISSING_IDS = ("", "nan", "NaN", "NAN", "None", "null", "NULL", "<NA>")

_CONTROLS = re.compile(CONTROLS_IN_PROSE)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_FORBIDDEN = re.compile(rf"[{FORBIDDEN_IN_IDS[1:-1]}\ud800-\udfff]")


def clean_text(text: str) -> str:
    """Return prose that can be stored everywhere: control characters are removed, lone surrogates become U+FFFD."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _CONTROLS.sub("", text)


def id_fault(value: str) -> str | None:
    """Return why a text cannot be an id, as in "has the control character U+0000 at position 3", or None."""
    found = _FORBIDDEN.search(value)
    if found is None:
        return None
    code = ord(found.group())
    if 0xD800 <= code <= 0xDFFF:
        kind = "lone surrogate"
    else:
        kind = "line break" if len(f"a{chr(code)}b".splitlines()) > 1 else "control character"
    return f"has the {kind} U+{code:04X} at position {found.start() + 1}"


def load_json(raw: bytes | str) -> Any:
    """Parse JSON that another program wrote; lone surrogates, which orjson refuses, are kept for `clean_text`.

    Raises:
        ValueError: It is not JSON in UTF-8.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        if b"\\ud" not in (raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw).lower():
            raise
    try:
        return json.loads(raw)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None

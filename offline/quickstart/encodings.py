"""Encoding of a text file: UTF-8 where it is valid, else the one in which the names of columns are known words."""

import codecs
import re
from collections.abc import Sequence

from retort.offline.data.sources._delimited import MARKS
from retort.offline.quickstart.event_columns import names_of_columns
from retort.offline.quickstart.item_columns import names_of_titles

_MARKS = {codecs.BOM_UTF8: "utf-8", **MARKS}
_USUAL = ("cp1251", "koi8-r", "cp1252", "cp1250")
_COMMON = re.compile(r"cp125\d|cp9\d\d|koi8|latin|iso8859|shift|gb|big5|euc|utf")
_GUESSED_FROM_BYTES = 1 << 18


def recognise_encoding(sample: bytes) -> tuple[str, str]:
    """Return the encoding and a note. UTF-8 is never a guess: text in another encoding is hardly ever valid UTF-8."""
    for mark, encoding in _MARKS.items():
        if sample.startswith(mark):
            return encoding, f"encoding {encoding} (it says so)"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # a character may be cut at the end
    except UnicodeDecodeError:
        return _guess(sample)
    return "utf-8", "encoding utf-8"


def is_guessed(encoding: str) -> bool:
    """Whether an encoding was guessed from the text, rather than seen from its bytes."""
    return encoding not in _MARKS.values()


def _guess(sample: bytes) -> tuple[str, str]:
    from charset_normalizer import from_bytes

    guesses = [match.encoding.replace("_", "-") for match in from_bytes(sample[:_GUESSED_FROM_BYTES])]
    header = sample.splitlines()[0]
    known = {encoding: _known_words(header, encoding) for encoding in dict.fromkeys([*guesses, *_USUAL])}
    best = max(known, key=lambda encoding: known[encoding])  # of equal ones the first
    if known[best]:
        return best, f"encoding {best} (by the names of the columns)"
    encoding = _first(guesses)
    return encoding, f"encoding {encoding} (a guess: look at the titles)"


def _first(guesses: Sequence[str]) -> str:
    """Return the first guess that people write today; old Macs' and DOS' encodings differ from them in few letters."""
    return next((guess for guess in guesses if _COMMON.match(guess)), guesses[0] if guesses else "latin-1")


def _known_words(header: bytes, encoding: str) -> int:
    """Count the known names of columns that are not ASCII; those in ASCII are the same in every encoding."""
    try:
        words = header.decode(encoding).lower()
    except (UnicodeDecodeError, LookupError):
        return 0
    return sum(name in words for name in (*names_of_columns(), *names_of_titles()) if not name.isascii())

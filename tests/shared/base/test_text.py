"""Text from outside: what is cleaned and what is refused."""

import pytest

from retort.shared.base.text import clean_text, id_fault, load_json


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain, два, \U0001f600", "plain, два, \U0001f600"),
        ("a\x00b", "ab"),
        ("a\ud800b", "a\ufffdb"),
        ("a\udfffb\ud83d", "a\ufffdb\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\x1b[31mred\x07\x9b", "[31mred"),
        ("tab\tline\r\nend", "tab\tline\r\nend"),
    ],
)
def test_prose_is_cleaned(text: str, clean: str) -> None:
    assert clean_text(text) == clean
    clean_text(text).encode()


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("ann/of the 1st — ü", None),
        ("a\x00", "has the control character U+0000 at position 2"),
        ("a\nb", "has the line break U+000A at position 2"),
        ("a\u2028b", "has the line break U+2028 at position 2"),
        ("\x85", "has the line break U+0085 at position 1"),
        ("\ud800", "has the lone surrogate U+D800 at position 1"),
        ("tab\t", "has the control character U+0009 at position 4"),
    ],
)
def test_ids_are_refused(value: str, fault: str | None) -> None:
    assert id_fault(value) == fault


def test_json_of_other_programs_may_hold_lone_surrogates() -> None:
    assert load_json(b'{"a": "\\ud800", "b": 1.5}') == {"a": "\ud800", "b": 1.5}
    for bad in (b'{"a": ', b'"\xff"', b"", b"[" * 10**6, b'["\\ud800"' + b",[" * 10**6):
        with pytest.raises(ValueError, match=r"."):
            load_json(bad)

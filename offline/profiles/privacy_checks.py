"""Privacy checks: a profile must not contain contact data, the user's id, private attributes or copied item text."""

import re
from collections.abc import Sequence

from retort.offline.profiles.history import Event

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w{2,}")
_WEB = re.compile(r"\b(?:https?://|www\.)\S+|\bjavascript:|<\s*(?:script|img|iframe|a)\b|\]\(\S+\)", re.IGNORECASE)
_PHONE = re.compile(r"(?<![\w.])\+?\d[\d ()./-]{8,}\d(?![\w%])")
_PRIVATE = re.compile(
    r"\b(?:the (?:user|person)|they|he|she) (?:is|are|was|appears? to be|seems? to be|might be|may be)(?: likely)?"
    r"(?: an?)? (?:(?:young|old|older|elderly|middle-aged|adult|teenage|single|married|divorced|widowed) )?"
    r"(?:\d{1,2}[- ]years?[- ]old|male|female|man|woman|boy|girl|teenager|mother|father|parent|gay|lesbian|bisexual"
    r"|christian|muslim|jewish|hindu|buddhist|atheist|pregnant|disabled|depressed|democrat|republican|immigrant)\b",
    re.IGNORECASE,
)
_PERSON = (
    r"(?:male|female|man|woman|boy|girl|lady|gentleman|teen(?:ager)?|mother|father|mom|mum|dad|parent|grand(?:mother"
    r"|father|parent)|husband|wife|widow(?:er)?|senior|retiree|pensioner|student|child|adult)"
)
_READER = r"(?:user|person|individual|viewer|customer|shopper|buyer|reader|listener|consumer)"
_AGE_WORD = r"(?:young|old|older|elderly|middle[- ]aged|teenage|adult|single|married|divorced|widowed|retired)"
_STATED = re.compile(
    rf"\b\d{{1,3}}[- ]?(?:years?|yrs?)[- ]?old,? (?:\w+ )?(?:{_PERSON}|{_READER})\b"
    rf"|\b(?:is|are|was|aged|age|around|about|approximately|likely) \d{{1,3}}[- ]?(?:years?|yrs?)[- ](?:old|of age)\b"
    r"|\baged? (?:about |around )?\d{2}\b"
    rf"|(?<!such )\bas an? (?:{_AGE_WORD} )?{_PERSON}\b(?!['’])"
    rf"|\b(?:the|this|a|an) (?:{_AGE_WORD} )?(?:male|female) {_READER}\b"
    rf"|(?:\b(?:the|this)|(?:\A|[.!?]\s+)an?) {_AGE_WORD} (?:{_PERSON}|{_READER}) "
    r"(?:who|is|with|enjoys|likes|prefers|seems)"
    r"|\bin (?:his|her|their) (?:early |mid[- ]|late )?(?:teens|twenties|thirties|forties|fifties|sixties|[2-8]0s)\b"
    r"|\bidentif(?:y|ies) as\b",
    re.IGNORECASE,
)
_COPIED_WORDS = 10  # consecutive words; a longer copy would let an item's text control the profile
_WORD = re.compile(r"[^\W_]+")


def find_leak(text: str, user_id: str, events: Sequence[Event]) -> str | None:
    """Return why a text may not be stored, or None.

    Prompts never contain the user's id; this check proves that no reply does.
    """
    if _EMAIL.search(text):
        return "contains an e-mail address"
    if _WEB.search(text):
        return "contains a link"
    if _PHONE.search(text):
        return "contains a phone number"
    if _is_distinctive(user_id) and re.search(rf"(?<!\w){re.escape(user_id)}(?!\w)", text):
        return "contains the user's id"
    if _PRIVATE.search(text) or _STATED.search(text):
        return "states a private attribute of the user"
    return "copies an item's text" if _copies(text, events) else None


def _is_distinctive(user_id: str) -> bool:
    """Whether an id cannot occur in a text by chance, as short numbers and plain words do."""
    return len(user_id) >= 5 and any(sign.isdigit() or not sign.isalnum() for sign in user_id)


def _copies(text: str, events: Sequence[Event]) -> bool:
    runs = _runs(text)
    return any(not runs.isdisjoint(_runs(part)) for event in events for part in (event.facts.title, event.facts.text))


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return {tuple(words[at : at + _COPIED_WORDS]) for at in range(len(words) - _COPIED_WORDS + 1)}

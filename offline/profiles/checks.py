"""Every reply is judged before it may teach anything."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retort.offline.common.section import Section

Language = Literal["any", "en", "ru"]

_REFUSALS = re.compile(
    r"\b(i['’]?m sorry|i am sorry|i apologi[sz]e|i (can['’]?t|cannot|can not|won['’]t|am unable|am not able)"
    r"|i['’]m unable"
    r"|as an ai\b|as a (large )?language model|i do not have (access|enough)|please provide|"
    r"no (viewing |purchase )?history (was|is) (given|provided))",
    re.IGNORECASE,
)
_RUSSIAN_REFUSALS = re.compile(r"(не могу (помочь|выполнить|создать)|извините|как языковая модель)", re.IGNORECASE)
# Prose was asked for: a fence, a bare JSON value or tags come from somewhere else than our instructions.
_OTHER_FORM = re.compile(r"\A\s*(?:```|[{\[])|```|</?(?:html|body|system|assistant|script)\b", re.IGNORECASE)
_MARKERS = re.compile(r"</?(history|profiles?)>|\$(form|history|profiles?)\b")
# Words that hardly any English text of a few sentences is without, and that its neighbours do not share.
_ENGLISH_WORDS = "the and of with for this their they from is are that to as by who which or user"
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_ECHO_CHARS = 45  # a line of ours this long does not come back by chance


class CheckRules(Section):
    """`[profiles.checks]`: what an acceptable reply looks like."""

    min_chars: int = Field(80, ge=1, description="shorter replies are refused")
    max_chars: int = Field(12_000, ge=1, description="longer replies are refused")
    language: Language = Field("en", description="any: only letters are asked for")


class StructuredProfile(BaseModel):
    """The JSON that the `json` family asks for."""

    model_config = ConfigDict(extra="forbid")

    likes: list[str]
    dislikes: list[str]
    habits: list[str]
    recent: list[str]
    summary: str

    def readable(self) -> str:
        """The profile as sentences: what is stored and encoded."""
        named = {"Likes": self.likes, "Dislikes": self.dislikes, "Habits": self.habits, "Recently": self.recent}
        lines = [f"{name}: {'; '.join(phrases)}." for name, phrases in named.items() if phrases]
        return "\n".join([*lines, self.summary])


def check_reply(
    raw: str, rules: CheckRules, instructions: str, schema: dict[str, Any] | None
) -> tuple[str, str | None]:
    """The text to store, and what is wrong with it (None: nothing)."""
    text = raw.strip()
    if not text:
        return "", "empty"
    if schema is None and _OTHER_FORM.search(text):
        return text, "another form than was asked for"
    if schema is not None:
        text, problem = _read_structured(text)
        if problem:
            return text, problem
    return text, find_problem(text, rules, instructions)


def find_problem(text: str, rules: CheckRules, instructions: str = "") -> str | None:
    """Why a text is no profile, or None."""
    if _refuses(text):
        return "a refusal"
    if len(text) < rules.min_chars:
        return f"too short ({len(text)} characters, at least {rules.min_chars})"
    if len(text) > rules.max_chars:
        return f"too long ({len(text)} characters, at most {rules.max_chars})"
    if _MARKERS.search(text) or _echoes(text, instructions):
        return "repeats the instructions"
    return _language_problem(text, rules.language) or _repetition(text)


def _read_structured(text: str) -> tuple[str, str | None]:
    """Models like to wrap JSON in a fence; that is no fault of the content."""
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", text, re.DOTALL)
    try:
        return StructuredProfile.model_validate_json(fenced.group(1) if fenced else text).readable(), None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return text, f"not the JSON that was asked for ({where + ': ' if where else ''}{first['msg']})"


def _refuses(text: str) -> bool:
    # later in the text the same words may be about the person: "I cannot" opens an answer only where it refuses
    opening = text[:160]
    return bool(_REFUSALS.search(opening) or _RUSSIAN_REFUSALS.search(opening))


def _echoes(text: str, instructions: str) -> bool:
    lines = (line.strip() for line in instructions.splitlines())
    flat = " ".join(text.split())
    return sum(line in flat for line in lines if len(line) >= _ECHO_CHARS) >= 2


def _language_problem(text: str, language: Language) -> str | None:
    letters = [letter for letter in text if letter.isalpha()]
    if len(letters) < 0.5 * len("".join(text.split())):
        return "hardly any letters"
    if language == "any":
        return None
    cyrillic = sum("Ѐ" <= letter <= "ӿ" for letter in letters) / len(letters)
    if language == "ru":
        return None if cyrillic > 0.5 else "not in Russian"
    latin = sum(letter < "ɐ" for letter in letters) / len(letters)
    return None if latin > 0.8 and _english_share(_words(text)) > 0.04 else "not in English"


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def _english_share(words: Sequence[str]) -> float:
    return sum(word in _ENGLISH for word in words) / max(1, len(words))


def _repetition(text: str) -> str | None:
    """A model caught in a loop says few different words."""
    words = _words(text)
    if len(words) >= 60 and len(set(words)) < 0.15 * len(words):
        return "repeats itself"
    return None

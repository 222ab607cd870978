"""Reply checks: form, length, language and refusals; only an accepted reply is stored."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from retort.offline.common.section import Section
from retort.offline.profiles.refusals import is_refusal
from retort.offline.profiles.thoughts import cut_preface, cut_thoughts, has_tags
from retort.offline.profiles.vocabulary import stems
from retort.shared.base.errors import first_invalid
from retort.shared.base.text import clean_text

Language = Literal["any", "en", "ru"]

# Prose was requested: a fence, a bare JSON value or tags do not follow our instructions.
_OTHER_FORM = re.compile(r"\A\s*[{\[]|```|</?(?:html|body|system|assistant|script)\b", re.IGNORECASE)
_MARKERS = re.compile(r"</?(history|profiles?)>|\$(form|history|profiles?)\b")
# Words that almost every English text of a few sentences contains, and that related languages do not share.
_ENGLISH_WORDS = "the and of with for this their they from is are that to as by who which or user"
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
# Words that do not change what a phrase of a list is about.
_PLAIN_WORDS = frozenset(
    stems("the a an of and with in for films movies books games stories titles items things products genre kind style")
)
_MAX_PHRASES = 12  # of each list of a structured profile
_PHRASE_CHARS = 160
_SUMMARY_CHARS = 1200
_ECHO_CHARS = 45  # a template line of this length does not recur by chance


class CheckRules(Section):
    """Recipe section `[profiles.checks]`: rules for acceptable replies."""

    min_chars: int = Field(80, ge=1, description="shorter replies are rejected")
    max_chars: int = Field(12_000, ge=1, description="longer replies are rejected")
    language: Language = Field("en", description="expected language; any: only requires letters")


def _first_phrases(value: Any) -> Any:
    # a server that does not enforce the schema may send more; the strongest come first
    return value[:_MAX_PHRASES] if isinstance(value, list) else value


def _first_words(max_chars: int) -> Callable[[Any], Any]:
    """Cut a string at the last word that fits."""

    def cut(value: Any) -> Any:
        if not isinstance(value, str) or len(value) <= max_chars:
            return value
        return value[: max_chars + 1].rpartition(" ")[0][:max_chars] or value[:max_chars]

    return cut


# The bounds end the loops of weak models. Requests to hosts that refuse `maxLength` leave it out (`_http.py`).
_Phrase = Annotated[str, BeforeValidator(_first_words(_PHRASE_CHARS)), Field(max_length=_PHRASE_CHARS)]
_Phrases = Annotated[list[_Phrase], BeforeValidator(_first_phrases), Field(max_length=_MAX_PHRASES)]
_Summary = Annotated[str, BeforeValidator(_first_words(_SUMMARY_CHARS)), Field(max_length=_SUMMARY_CHARS)]


class StructuredProfile(BaseModel):
    # This docstring is part of the JSON schema, hence of the prompt version under which profiles are stored: a change
    # makes every stored profile of family = "json" outdated.
    """The JSON that the `json` family asks for."""

    model_config = ConfigDict(extra="forbid")

    likes: _Phrases
    dislikes: _Phrases
    habits: _Phrases
    recent: _Phrases
    summary: _Summary

    def readable(self) -> str:
        """Return the profile as sentences: the text that is stored and encoded."""
        named = {"Likes": self.likes, "Dislikes": self.dislikes, "Habits": self.habits, "Recently": self.recent}
        lines = [f"{name}: {'; '.join(phrases)}." for name, phrases in named.items() if phrases]
        return "\n".join([*lines, self.summary])


def check_reply(
    raw: str, rules: CheckRules, instructions: str, schema: dict[str, Any] | None
) -> tuple[str, str | None]:
    """Check a model's reply.

    Args:
        instructions: Template text that a reply must not repeat.
        schema: JSON schema of the requested reply; None: plain text.

    Returns:
        The text to store, and its problem (None: accepted).
    """
    text, problem = cut_thoughts(raw)
    if problem is not None or not text:
        return text, problem or "empty"
    if schema is None and _OTHER_FORM.search(text):
        return text, "not in the requested form"
    if schema is not None:
        text, problem = _read_structured(text)
        if problem:
            return text, problem
    else:
        text = cut_preface(text)
    text = clean_text(text)  # the strings of a JSON reply may hold escaped control characters
    return text, find_problem(text, rules, instructions)


def find_problem(text: str, rules: CheckRules, instructions: str = "") -> str | None:
    """Return why a text is not an acceptable profile, or None."""
    if is_refusal(text):
        return "a refusal"
    if len(text) < rules.min_chars:
        return f"too short ({len(text)} characters, at least {rules.min_chars})"
    if len(text) > rules.max_chars:
        return f"too long ({len(text)} characters, at most {rules.max_chars})"
    if _MARKERS.search(text) or echoes(text, instructions):
        return "repeats the instructions"
    if has_tags(text):
        return "contains tags"
    return _language_problem(text, rules.language) or _repetition(text)


def _read_structured(text: str) -> tuple[str, str | None]:
    """Parse a JSON reply; models often wrap it in a fence, which is accepted."""
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", text, re.DOTALL)
    try:
        profile = StructuredProfile.model_validate_json(fenced.group(1) if fenced else text)
        likes = {subject: like for like in profile.likes if (subject := _subject(like))}
        both = sorted(likes[subject] for subject in likes.keys() & {_subject(phrase) for phrase in profile.dislikes})
        return profile.readable(), f"likes and dislikes the same ({both[0].strip(' .').lower()[:60]})" if both else None
    except ValidationError as error:
        return text, f"not the requested JSON ({first_invalid(error)})"


def _subject(phrase: str) -> frozenset[str]:
    """The words of a phrase that say what it is about: `War films.` and `the war film` are about the same."""
    return frozenset(stems(phrase)) - _PLAIN_WORDS


def echoes(text: str, instructions: str) -> bool:
    """Whether a text holds at least two lines of the instructions."""
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
    """Detect a model caught in a loop: few different words or word triples, or sentences that differ in one word."""
    words = _words(text)
    if len(words) >= 60 and len(set(words)) < 0.15 * len(words):
        return "repeats itself"
    triples = list(zip(words, words[1:], words[2:], strict=False))
    if len(triples) >= 40 and len(set(triples)) < 0.5 * len(triples):
        return "repeats itself"
    return "repeats itself" if _repeats_sentences(text) else None


def _repeats_sentences(text: str) -> bool:
    sentences = [words for part in re.split(r"[.!?;\n]+", text) if len(words := _words(part)) >= 4]
    known: list[set[str]] = []
    repeated = 0
    for words in sentences:
        own = set(words)
        repeated += any(len(own & earlier) >= 0.75 * max(len(own), len(earlier)) for earlier in known)
        known.append(own)
    return repeated >= 4 and repeated > 0.5 * len(sentences)

"""Prompts: chat messages from a history, made from template files in which the history is quoted as data.

Templates are `templates/<family>/<domain>.txt` (the form: what a profile must contain) and the four tasks `write`,
`update`, `merge`, `combine`. All tasks show the same form, so their instructions cannot disagree. Instructions come
before the data: all prompts of a task begin alike, and servers read that beginning from their cache. Numbers are
counted by code and stated; the model is asked for what they cannot say. This module never receives a user id, so no
prompt contains one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Any, Literal

import orjson

from retort.offline.profiles.backends._base import Message, Prompt
from retort.offline.profiles.checks import StructuredProfile
from retort.offline.profiles.history import Event
from retort.offline.profiles.history_numbers import history_numbers
from retort.offline.profiles.item_facts import Value, is_year, item_year
from retort.offline.profiles.population import Population
from retort.shared.base.errors import RecipeError
from retort.shared.base.hashing import hash_json

TEMPLATES = Path(__file__).parent / "templates"
Family = Literal["long", "short", "json", "aspects"]
TASKS = ("write", "update", "merge", "combine")
WHOLE = "whole"  # aspect of a profile that covers everything
COMBINED = "combined"  # aspect of a profile that combines the other aspects

_FORM_OF_FACTS = 3  # raised when prompts state other things about the same history
_YEAR_AT_END = re.compile(r"\s*\((\d{4})\)\s*$")  # MovieLens: "Heat (1995)"
_LONG_VALUE_CHARS = 48  # longer values are descriptions and follow the rating
_LANGUAGES = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch", "sv": "Swedish", "da": "Danish", "no": "Norwegian", "fi": "Finnish", "pl": "Polish",
    "cs": "Czech", "sk": "Slovak",
    "hu": "Hungarian", "ro": "Romanian", "tr": "Turkish", "id": "Indonesian", "vi": "Vietnamese", "ru": "Russian",
    "uk": "Ukrainian", "bg": "Bulgarian", "sr": "Serbian", "be": "Belarusian", "kk": "Kazakh", "el": "Greek",
    "ja": "Japanese", "zh": "Chinese", "ko": "Korean", "ar": "Arabic", "he": "Hebrew", "hi": "Hindi", "th": "Thai",
}  # fmt: skip
# `<` opens the markers of our templates; JSON leaves these two line separators unescaped.
_ESCAPES = {ord("<"): "\\u003c", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def domains(family: Family) -> list[str]:
    """Return the names of the domains that a family has templates for."""
    return sorted(path.stem for path in (TEMPLATES / family).iterdir())


def aspect_names(family: Family, domain: str) -> tuple[str, ...]:
    """Return the aspects that a family writes for each user: one, except for family = "aspects".

    Raises:
        RecipeError: The family has no such domain.
    """
    if domain not in domains(family):
        raise RecipeError(
            f"[profiles] family {family!r} has no domain {domain!r}; choose one of: {', '.join(domains(family))}."
        )
    if family != "aspects":
        return (WHOLE,)
    return tuple(sorted(path.stem for path in (TEMPLATES / family / domain).glob("*.txt")))


@dataclass(frozen=True)
class PromptWriter:
    """Prompt builder of one family, domain and aspect.

    Attributes:
        population: Categories of all users, with which the numbers compare the person; None: no comparison.
    """

    family: Family
    domain: str
    aspect: str = WHOLE
    language: str = "en"
    population: Population | None = field(default=None, compare=False, repr=False)

    @cached_property
    def _form(self) -> str:
        if self.aspect == COMBINED:
            return ""
        folder = TEMPLATES / self.family
        name = f"{self.domain}/{self.aspect}" if self.family == "aspects" else self.domain
        return (folder / f"{name}.txt").read_text(encoding="utf-8").strip()

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {name: (TEMPLATES / f"{name}.txt").read_text(encoding="utf-8") for name in ("system", "reading", *TASKS)}

    @cached_property
    def version(self) -> str:
        """Identifier of the templates in use; it changes with every character."""
        parts = [self._texts, self._form, self.language, self._schema]
        # a combination reads profiles, not facts
        digest = hash_json(parts if self.aspect == COMBINED else [*parts, _FORM_OF_FACTS])
        return f"{self.family}/{self.domain}/{self.aspect}:{digest[:16]}"

    @cached_property
    def instructions(self) -> str:
        """All template text, to recognise replies that repeat it."""
        return "\n".join([*self._texts.values(), self._form])

    @property
    def _schema(self) -> dict[str, Any] | None:
        return StructuredProfile.model_json_schema() if self.family == "json" else None

    def write(self, events: Sequence[Event]) -> Prompt:
        """Build the prompt for a profile from a history alone."""
        return self._prompt("write", events, history=quoted_events(events), numbers=self._numbers(events))

    def update(self, profile: str, events: Sequence[Event]) -> Prompt:
        """Build the prompt that updates a profile with later events."""
        data = {"history": quoted_events(events), "numbers": self._numbers(events), "profile": quoted(profile)}
        return self._prompt("update", events, (profile,), **data)

    def merge(self, profiles: Sequence[str], events: Sequence[Event]) -> Prompt:
        """Build the prompt that merges the profiles of successive parts of a history; `events` are those of all."""
        lines = [quoted({"stretch": number, "profile": profile}) for number, profile in enumerate(profiles, start=1)]
        data = {"profiles": "\n".join(lines), "numbers": self._numbers(events)}
        return self._prompt("merge", events, tuple(profiles), **data)

    def combine(self, profiles: dict[str, str], events: Sequence[Event]) -> Prompt:
        """Build the prompt that combines the profiles of several aspects."""
        lines = [quoted({"aspect": name, "profile": profile}) for name, profile in profiles.items()]
        return self._prompt("combine", events, tuple(profiles.values()), profiles="\n".join(lines))

    def _numbers(self, events: Sequence[Event]) -> str:
        """The block of numbers with its markers; "" where there is nothing to count."""
        lines = [_one_line(line) for line in history_numbers(events, self.population)]
        return "\n".join(["<numbers>", *lines, "</numbers>", "", ""]) if lines else ""

    def _prompt(
        self,
        task: Literal["write", "update", "merge", "combine"],
        events: Sequence[Event],
        parts: tuple[str, ...] = (),
        **data: str,
    ) -> Prompt:
        slots = {
            "form": self._form,
            "language": language_name(self.language),
            "reading": self._texts["reading"].strip(),
        }
        text = Template(self._texts[task]).substitute(slots, **data)
        messages = (
            Message(role="system", content=self._texts["system"].strip()),
            Message(role="user", content=text.strip()),
        )
        return Prompt(messages, tuple(events), task, self.aspect, parts, self._schema)


def language_name(language: str) -> str:
    """Return the English name of a language that is given by its code."""
    return _LANGUAGES.get(language, language)


def language_code(language: str) -> str:
    """Return the code of a language that is given by its English name, or by a code such as `pt-BR`; "": unknown."""
    given = language.strip().lower()
    named = next((code for code, name in _LANGUAGES.items() if name.lower() == given), "")
    return named or (given[:2] if len(given) == 2 or given[2:3] in ("-", "_") else "")


def quoted_events(events: Sequence[Event]) -> str:
    """Return the events as one line each, oldest first."""
    return "\n".join(event_line(event) for event in events)


def event_line(event: Event) -> str:
    """Return `Title (year; type): rating | more`; what is unknown or already in the title is left out."""
    facts = event.facts
    title, year = facts.title if facts.shows_title else facts.kind, item_year(facts)
    if found := _YEAR_AT_END.search(title):
        title, year = title[: found.start()], int(found.group(1))
    shown = {name: value for name, value in facts.attributes.items() if not (is_year(name) and year is not None)}
    values = [_value(name, value) for name, value in shown.items()]
    brief = [str(year) if year is not None and str(year) not in title else "", facts.kind if facts.shows_title else ""]
    brief += [value for value in values if len(value) <= _LONG_VALUE_CHARS]
    details = "; ".join(part for part in brief if part)
    rating = "" if event.weight is None else f": {_rating(event.weight)}"
    more = " ".join([*(value for value in values if len(value) > _LONG_VALUE_CHARS), facts.text]).strip()
    head = f"{title or 'untitled'}{f' ({details})' if details else ''}{rating}"
    return _one_line(f"{head} | {more}" if more else head)


def _value(name: str, value: Value) -> str:
    """A value alone where it speaks for itself, with its column's name where it is a number or a truth value."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return name if value else f"not {name}"
    return f"{name} {value:g}" if isinstance(value, int | float) else value


def _rating(weight: float) -> int | float:
    return int(weight) if weight.is_integer() else round(weight, 3)


def _one_line(text: str) -> str:
    """A line of data: it cannot end, and cannot close a marker of the prompt."""
    return " ".join(text.split()).replace("<", "‹")


def event_facts(event: Event) -> dict[str, Any]:
    """Return what a prompt states about one event."""
    facts: dict[str, Any] = {"title": event.facts.title, **event.facts.attributes}
    if event.facts.kind:
        facts |= {"type": event.facts.kind, **({} if event.facts.shows_title else {"title": None})}
    if event.facts.text:
        facts["text"] = event.facts.text
    if event.weight is not None:
        facts["weight"] = _rating(event.weight)
    return facts


def quoted(value: object) -> str:
    """Return JSON on one line that cannot close a marker of the prompt."""
    return orjson.dumps(value).decode().translate(_ESCAPES)


def history_hash(events: Sequence[Event]) -> str:
    """Return a hash that changes with every event and with what a prompt states about it."""
    return hash_json([event_facts(event) for event in events])

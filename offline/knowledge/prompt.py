"""Prompts about items: instructions from template files, then the records of one or several items as data.

`templates/fields/<domain>.txt` names the fields and what each holds. The instructions come before the records and are
the same in every request, so that a server reads them once (prefix caching).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from retort.offline.knowledge.config import Family, KnowledgeConfig
from retort.offline.profiles.backends._base import Message, Prompt
from retort.offline.profiles.history import Event
from retort.offline.profiles.item_facts import Facts
from retort.offline.profiles.prompt import event_facts, language_name, quoted
from retort.shared.base.errors import RecipeError
from retort.shared.base.hashing import hash_json

TEMPLATES = Path(__file__).parent / "templates"
PHRASE_CHARS = 120  # of one phrase
_FORM_OF_RECORDS = 1  # raised when a record states other things about the same item


class KnowledgeField(NamedTuple):
    """A field of an item's description. most: phrases that it may hold; 1: a single text."""

    name: str
    most: int
    meaning: str


class ItemTask(NamedTuple):
    """An item to describe: its id, the hash of everything that its prompt states, and its facts."""

    item_id: str
    content_hash: str
    facts: Facts


def make_task(item_id: str, facts: Facts) -> ItemTask:
    """Build the task of an item."""
    return ItemTask(item_id, hash_json(event_facts(Event(facts))), facts)


def domains() -> list[str]:
    """Return the names of the domains that there are templates for."""
    return sorted(path.stem for path in (TEMPLATES / "fields").glob("*.txt"))


def read_fields(domain: str, chosen: Sequence[str]) -> tuple[KnowledgeField, ...]:
    """Read the chosen fields of a domain, in the order in which they are asked for.

    Raises:
        RecipeError: There is no such domain.
    """
    if domain not in domains():
        raise RecipeError(f"[knowledge] domain = {domain!r}; choose one of: {', '.join(domains())}.")
    lines = (TEMPLATES / "fields" / f"{domain}.txt").read_text(encoding="utf-8").splitlines()
    rows = [[part.strip() for part in line.split("|")] for line in lines if line.strip()]
    known = {name: KnowledgeField(name, int(most), meaning) for name, most, meaning in rows}
    return tuple(known[name] for name in chosen)


@dataclass(frozen=True)
class ItemPromptWriter:
    """Builder of prompts about items."""

    family: Family
    domain: str
    fields: tuple[KnowledgeField, ...]
    words: int
    language: str

    @classmethod
    def of(cls, config: KnowledgeConfig) -> "ItemPromptWriter":
        """Build the writer that a recipe asks for."""
        return cls(
            config.family, config.domain, read_fields(config.domain, config.fields), config.words, config.language
        )

    @cached_property
    def _texts(self) -> dict[str, str]:
        names = {"system": "system", "describe": "describe", "form": f"form_{self.family}"}
        return {key: (TEMPLATES / f"{name}.txt").read_text(encoding="utf-8").strip() for key, name in names.items()}

    @cached_property
    def _instructions(self) -> str:
        """The prompt with `$records` still open."""
        listed = "\n".join(f"- {field.name}: {_amount(field)}{field.meaning}" for field in self.fields)
        slots = {"fields": listed, "words": str(self.words), "form": self._texts["form"]}
        return Template(self._texts["describe"]).safe_substitute(slots, language=language_name(self.language))

    @cached_property
    def version(self) -> str:
        """Identifier of the instructions; it changes with every character of them."""
        digest = hash_json([self._texts["system"], self._instructions, self.schema(1), _FORM_OF_RECORDS])
        return f"items/{self.family}/{self.domain}:{digest[:16]}"

    @cached_property
    def instructions(self) -> str:
        """All template text, to recognise replies that repeat it."""
        return f"{self._texts['system']}\n{self._instructions}"

    def write(self, tasks: Sequence[ItemTask]) -> Prompt:
        """Build the prompt that asks for all of these items."""
        records = [quoted({"id": task.item_id, **event_facts(Event(task.facts))}) for task in tasks]
        messages = (
            Message(role="system", content=self._texts["system"]),
            Message(role="user", content=Template(self._instructions).substitute(records="\n".join(records))),
        )
        events = tuple(Event(task.facts) for task in tasks)
        item_ids = tuple(task.item_id for task in tasks)
        return Prompt(messages, events, "describe", "", item_ids, self.schema(len(tasks)))

    def schema(self, n_items: int) -> dict[str, Any] | None:
        """Return the JSON schema of a reply about so many items; None: plain text.

        The bounds end the loops of weak models. Requests to hosts that refuse `maxLength` leave it out.
        """
        if self.family != "json":
            return None
        text: dict[str, Any] = {"type": "string", "maxLength": PHRASE_CHARS}
        own = {
            field.name: text if field.most == 1 else {"type": "array", "items": text, "maxItems": field.most}
            for field in self.fields
        }
        entry = {
            "type": "object",
            "properties": {"id": {"type": "string"}, **own},
            "required": ["id", *own],
            "additionalProperties": False,
        }
        entries = {"type": "array", "items": entry, "minItems": n_items, "maxItems": n_items}
        return {
            "type": "object",
            "properties": {"items": entries},
            "required": ["items"],
            "additionalProperties": False,
        }


def _amount(field: KnowledgeField) -> str:
    return "" if field.most == 1 else f"up to {field.most} phrases: "

"""Texts about items by rule: what the record states, in the form of an answer. It adds no knowledge."""

import json
import re
from typing import Any

from retort.offline.profiles.backends._base import Prompt
from retort.offline.profiles.item_facts import Facts

_TYPES = ("category", "categories", "type", "product_type", "genre", "genres", "main_category", "department")
_MOST = 5


def state_facts(prompt: Prompt) -> str:
    """Answer a prompt about items from their records alone: a type and properties, the rest is unknown."""
    answers = [_answer(item_id, event.facts) for item_id, event in zip(prompt.parts, prompt.events, strict=True)]
    if prompt.schema is not None:
        names = [name for name in prompt.schema["properties"]["items"]["items"]["properties"] if name != "id"]
        entries = [{"id": answer["id"], **{name: answer.get(name, "unknown") for name in names}} for answer in answers]
        return json.dumps({"items": entries}, ensure_ascii=False)
    lines = [", ".join([answer["type"], *answer["properties"]]) for answer in answers]
    return "\n".join(f"{answer['id']} | {line}" for answer, line in zip(answers, lines, strict=True))


def _answer(item_id: str, facts: Facts) -> dict[str, Any]:
    found = facts.facets
    types = [value for name in _TYPES for attribute, value in found if attribute.lower() == name]
    # the last part of a category's path is the most precise
    kind = types[-1] if types else "unknown"
    words = [value for _, value in found if value != kind]
    properties = words or re.findall(r"[^\W\d_]{4,}", facts.title)
    return {"id": item_id, "type": kind, "properties": properties[:_MOST] or ["unknown"]}

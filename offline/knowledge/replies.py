"""Replies about several items: each answer is matched to its item by the id."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from retort.offline.knowledge.prompt import PHRASE_CHARS, ItemPromptWriter, ItemTask, KnowledgeField
from retort.offline.profiles.thoughts import cut_thoughts
from retort.shared.base.text import clean_text

UNKNOWN = frozenset({"unknown", "none", "n/a", "na", "null", "nan", "not known", "not applicable", "-", "?"})
_FENCED = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)
_LINE = re.compile(r"^(?:[-*•]\s+|\d+[.)]\s+)?(?P<id>\S.*?)\s*\|\s*(?P<text>.+)$")


class Answer(NamedTuple):
    """What a model answered about one item: field → phrases; the text family has the single field ""."""

    fields: dict[str, list[str]]

    @property
    def text(self) -> str:
        """All phrases in the order of the fields, each once; "" where nothing is known."""
        return ", ".join(dict.fromkeys(phrase for phrases in self.fields.values() for phrase in phrases))


def read_reply(raw: str, tasks: Sequence[ItemTask], writer: ItemPromptWriter) -> tuple[dict[str, Answer], str | None]:
    """Read the answers of a reply.

    Returns:
        item_id → answer of the items that are answered once, and the problem if the reply has none of them.
    """
    text, problem = cut_thoughts(raw)
    if problem is not None or not text:
        return {}, problem or "empty"
    item_ids = [task.item_id for task in tasks]
    if writer.family == "json":
        found, problem = _from_json(text, item_ids, writer.fields)
    else:
        found, problem = _from_lines(text, item_ids)
    answers = _answered_once(found, item_ids)
    return answers, None if answers else problem or "no answer has the id of a record"


def _answered_once(found: Iterable[tuple[str, Answer]], item_ids: Sequence[str]) -> dict[str, Answer]:
    """Two answers for one id are both dropped: one of them is about another item."""
    pairs = [(item_id, answer) for item_id, answer in found if item_id in set(item_ids)]
    counts = Counter(item_id for item_id, _ in pairs)
    return {item_id: answer for item_id, answer in pairs if counts[item_id] == 1}


def _from_json(
    text: str, item_ids: Sequence[str], fields: Sequence[KnowledgeField]
) -> tuple[list[tuple[str, Answer]], str | None]:
    fenced = _FENCED.fullmatch(text)
    try:
        value = json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError):
        return [], "not the requested JSON"
    entries = value.get("items", [value]) if isinstance(value, dict) else value
    if not isinstance(entries, list):
        return [], "not the requested JSON"
    found = []
    for entry in entries:
        if isinstance(entry, dict):
            # a model that is asked about one item may leave its id out
            item_id = entry.get("id", item_ids[0] if len(item_ids) == len(entries) == 1 else None)
            answer = Answer({field.name: _phrases(entry.get(field.name), field.most) for field in fields})
            found.append((str(item_id).strip(), answer))
    return found, None


def _from_lines(text: str, item_ids: Sequence[str]) -> tuple[list[tuple[str, Answer]], str | None]:
    lines = [line.strip() for line in text.splitlines() if line.strip(" `")]
    if len(item_ids) == len(lines) == 1 and "|" not in lines[0]:
        return [(item_ids[0], Answer({"": split_phrases(lines[0])}))], None
    found = []
    for line in lines:
        if matched := _LINE.match(line):
            found.append((matched["id"].strip(" \"'`*[]<>"), Answer({"": split_phrases(matched["text"])})))
    return found, None


def _phrases(value: Any, most: int) -> list[str]:
    """The phrases of a field: a text or a list of texts; unknown ones are dropped."""
    values = value if isinstance(value, list) else [value]
    cleaned = [clean_phrase(str(each)) for each in values if each is not None and not isinstance(each, dict | list)]
    return [phrase for phrase in cleaned if phrase][:most]


def split_phrases(text: str) -> list[str]:
    """Split a text at its commas; unknown phrases are dropped."""
    return [phrase for part in re.split(r"[,;]\s+|\s*\|\s*", text) if (phrase := clean_phrase(part))]


def clean_phrase(text: str) -> str:
    """Return a phrase on one line without a final mark; "" for one that says that nothing is known."""
    phrase = " ".join(clean_text(text).split()).strip(" .;,|\"'`")[:PHRASE_CHARS].strip()
    return "" if phrase.lower() in UNKNOWN or phrase.lower().startswith("unknown ") else phrase

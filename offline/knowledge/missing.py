"""Items without a text, and why: not asked about yet, or refused, with the reason that the store keeps."""

import csv
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from retort.offline.common.chunking import batches
from retort.offline.data.interactions import Items
from retort.offline.knowledge.config import KnowledgeConfig, named_model
from retort.offline.knowledge.describe import item_catalogue
from retort.offline.knowledge.prompt import make_task
from retort.offline.knowledge.store import KnowledgeStore, StoredItem
from retort.offline.knowledge.writer import ALONE, knowledge_key
from retort.shared.base.settings import LanguageModelSettings

NOT_ASKED = "not asked about yet, or no answer of the server"
_READ_AT_ONCE = 4096


class MissingItem(NamedTuple):
    """An item without a text about its present facts. error: why the last reply was refused; None: there is none."""

    item_id: str
    error: str | None
    at: datetime | None

    @property
    def reason(self) -> str:
        """The reason without what differs between items."""
        if self.error is None or self.error.startswith(ALONE):
            return NOT_ASKED
        return self.error.split(" (")[0]


class Standing(NamedTuple):
    """What the store holds about a catalogue: texts, items that the model does not know, corrections, and the rest.

    blank: Items without title, attribute and text, which are not sent.
    """

    items: int
    described: int
    unknown: int
    corrected: int
    missing: list[MissingItem]
    blank: int = 0

    def line(self) -> str:
        """Summarise in one line."""
        return (
            f"{self.described:,} of {self.items:,} items have a text, {self.unknown:,} are unknown to the model, "
            f"{self.corrected:,} are corrected by people, {len(self.missing):,} are missing"
        ) + (f", {self.blank:,} have no title, attribute or text and are not sent" if self.blank else "")

    def rows(self) -> list[dict[str, object]]:
        """A row for each reason, the most frequent first."""
        counts = Counter(item.reason for item in self.missing)
        first: dict[str, MissingItem] = {}
        for item in self.missing:
            first.setdefault(item.reason, item)
        return [
            {"reason": reason, "items": count, "like": first[reason].item_id, "last": first[reason].error}
            for reason, count in counts.most_common()
        ]

    def write_missing(self, target: Path) -> None:
        """Write the missing items to a CSV file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("item_id", "reason", "error", "at"))
            for item in self.missing:
                rows.writerow((item.item_id, item.reason, item.error, item.at and item.at.isoformat()))


def read_standing(
    items: Items, config: KnowledgeConfig, store: KnowledgeStore, settings: LanguageModelSettings
) -> Standing:
    """Read which items have a text about their present facts, and why the others have none. No model is called.

    Where only the server knows the name of its model, the texts of every model count.
    """
    item_ids = items.frame["item_id"].to_list()
    corrected = store.corrections(item_ids)
    described, unknown, missing, blank = 0, 0, [], set(item_ids) - set(corrected)
    for item_id, found in _stored(items, config, store, settings):
        blank.discard(item_id)
        if item_id in corrected:
            continue
        if found is None or found.error is not None:
            missing.append(MissingItem(item_id, found and found.error, found and found.created_at))
        elif found.text is None:
            unknown += 1
        else:
            described += 1
    return Standing(len(item_ids), described, unknown, len(corrected), missing, len(blank))


def find_missing(
    items: Items, config: KnowledgeConfig, store: KnowledgeStore, settings: LanguageModelSettings
) -> list[MissingItem]:
    """Return the items without a text about their present facts, corrected ones left out."""
    return read_standing(items, config, store, settings).missing


def _stored(
    items: Items, config: KnowledgeConfig, store: KnowledgeStore, settings: LanguageModelSettings
) -> Iterator[tuple[str, StoredItem | None]]:
    """Iterate over the items whose facts are known, with what the store holds about them."""
    catalogue, model = item_catalogue(items, config), named_model(config, settings)
    key = knowledge_key(config, model or "")
    for chunk in batches(items.frame["item_id"].to_list(), _READ_AT_ONCE):
        stored = store.find(key, chunk, any_model=model is None)
        for item_id in chunk:
            facts = catalogue.facts(item_id)
            if facts is not None:
                yield item_id, stored.get((item_id, make_task(item_id, facts).content_hash))

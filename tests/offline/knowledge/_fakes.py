"""A small shop, a model that answers from the records of a prompt, and a store."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from retort.offline.common.progress import Silent
from retort.offline.data.interactions import Items
from retort.offline.knowledge.catalogue_names import read_names
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.describe import item_catalogue, new_writer
from retort.offline.knowledge.store import KnowledgeStore
from retort.offline.knowledge.writer import ItemWriter
from retort.offline.profiles.backends._base import ProfileBackend
from retort.offline.profiles.report import ProfilesReport
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database

_KINDS = ("nail lacquer", "bath bomb", "hair mask", "sheet mask", "lip balm", "body scrub", "hand cream")
_BRANDS = ("Essie", "OPI", "China Glaze", "Lush")
SHOP_RECIPE = """
[data]
source = "table"
[data.options]
items = "items.csv"
position = "timestamp"
[knowledge]
backend = "openai"
domain = "products"
"""
Records = list[dict[str, Any]]


def shop(n_items: int = 12) -> Items:
    """Items with a brand, a category and a year."""
    rows = [
        {
            "item_id": f"B{n:04d}",
            "title": f"{_BRANDS[n % 4]} Wonder{n} {_KINDS[n % 7].title()}",
            "text": "",
            "brand": _BRANDS[n % 4],
            "category": ["Beauty", _KINDS[n % 7].title()],
            "year": 2000 + n % 20,
        }
        for n in range(n_items)
    ]
    return Items(pl.DataFrame(rows))


def write_shop(data: Path, items: pl.DataFrame) -> None:
    """Write the files that `SHOP_RECIPE` reads: items, and events of three users with each of them."""
    data.mkdir()
    events = [f"u{user},{item_id},{n}" for user in range(3) for n, item_id in enumerate(items["item_id"])]
    (data / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(events) + "\n")
    items.write_csv(data / "items.csv")


def lacquers(n_items: int) -> pl.DataFrame:
    """Items of one brand and one category."""
    rows = [(f"B{n:04d}", f"Essie Wonder{n} Nail Lacquer", "Essie") for n in range(n_items)]
    return pl.DataFrame(rows, schema=["item_id", "title", "brand"], orient="row")


def config(**keys: Any) -> KnowledgeConfig:
    """A configuration for products."""
    return KnowledgeConfig.model_validate({"backend": "openai", "domain": "products", "items_per_call": 4, **keys})


def records_of(messages: Sequence[Any]) -> Records:
    """The records of a prompt."""
    content = str(messages[-1]["content"])
    return [json.loads(line) for line in re.findall(r"^\{\"id\".*$", content, re.MULTILINE)]


def entry(record: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A good answer about one record; other items get other texts."""
    number = int(re.sub(r"\D", "", record["id"]) or 0)
    return {
        "id": record["id"],
        "type": f"{record['title'].split()[-2].lower()} treatment",
        "properties": [f"shade family {chr(97 + number % 26)}{chr(97 + number // 26 % 26)}", "quick drying"],
        "need": ["party manicure"],
        "segment": "professional",
        "rivals": ["Essie", "China Glaze", "Zoya"],
        "goes_with": ["base coat"],
        "next": ["top coat"],
        **changed,
    }


def answer_all(messages: Sequence[Any]) -> str:
    """A good reply to a prompt."""
    return json.dumps({"items": [entry(record) for record in records_of(messages)]})


def sqlite_store(folder: Path) -> KnowledgeStore:
    """A store in a fresh SQLite file."""
    url = f"sqlite:///{folder / 'retort.db'}"
    upgrade(url)
    return KnowledgeStore(open_database(url))


def writer(
    items: Items,
    config: KnowledgeConfig,
    store: KnowledgeStore,
    backend: ProfileBackend,
    report: Callable[[], ProfilesReport] = lambda: ProfilesReport("scripted", what="item text"),
) -> ItemWriter:
    """A writer over a store and a backend."""
    catalogue = item_catalogue(items, config)
    return new_writer(config, store, backend, catalogue, read_names(items), report(), Silent(), len(items.frame))

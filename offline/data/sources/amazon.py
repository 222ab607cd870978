"""Amazon reviews in the layouts of 2014, 2018 and 2023: JSON lines of reviews and of metadata, gzip or plain.

2014 https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html, 2018 https://nijianmo.github.io/amazon/,
2023 https://amazon-reviews-2023.github.io/. The layout is recognised by the keys of the first review.
"""

import html
from pathlib import Path
from typing import Any

from pydantic import Field

from retort.offline.common.progress import Progress
from retort.offline.common.section import Section
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables
from retort.offline.data.sources._files import find_file, find_optional_file, require_directory
from retort.offline.data.sources._json_lines import Record, as_text, first_record, read_json_lines
from retort.shared.base.errors import DataError

# our name → the file's; 2014 and 2018 have the same review keys
REVIEW_KEYS = {"user_id": "reviewerID", "item_id": "asin", "weight": "overall", "timestamp": "unixReviewTime"}
REVIEW_KEYS_2023 = {"user_id": "user_id", "item_id": "parent_asin", "weight": "rating", "timestamp": "timestamp"}


_CORE = "_5.json"  # end of the name of a file of users and products with five reviews or more


class Config(Section):
    """Options; where unset, files are found by the names under which they are published."""

    reviews: str | None = Field(None, description="file such as reviews_Beauty_5.json.gz or All_Beauty.jsonl.gz")
    meta: str | None = Field(None, description="file such as meta_Beauty.json.gz; unset: the only `meta_*`, if any")


def files(config: Config, root: Path | None) -> dict[str, Path]:
    """Return the reviews and, where there is any, the metadata."""
    reviews = find_file(root, config.reviews) if config.reviews else _only_reviews(root)
    meta = find_file(root, config.meta) if config.meta else find_optional_file(root, "meta_*.json*")
    return {"reviews": reviews, **({"meta": meta} if meta else {})}


def read(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> RawTables:
    """Read reviews as events (weight: stars), and metadata as items with brand, price, categories, description."""
    found = files(config, root)
    path, meta = found["reviews"], found.get("meta")
    kind = (
        "only the 5-core; papers that filter themselves start from all reviews" if _CORE in path.name else "all reviews"
    )
    progress.say(f"reading {path.name} ({kind})")
    keys = REVIEW_KEYS_2023 if "parent_asin" in first_record(path) else REVIEW_KEYS
    reviews = read_json_lines(path, rejects, progress, lambda record: {ours: record.get(keys[ours]) for ours in keys})
    return RawTables(
        (RawTable(path.name, reviews, keys),),
        items=(RawTable(meta.name, read_json_lines(meta, rejects, progress, _product)),) if meta else (),
        time_unit="ms" if keys is REVIEW_KEYS_2023 else "s",
    )


def _only_reviews(root: Path | None) -> Path:
    names = [path for path in sorted(require_directory(root).glob("*.json*")) if not path.name.startswith("meta_")]
    if len(names) != 1:
        found = ", ".join(path.name for path in names) or "none"
        raise DataError(
            f"{root} should contain one file of reviews (*.json, *.jsonl, also .gz), but contains: {found}; "
            "name it in [data.options] reviews."
        )
    return names[0]


def _product(record: Record) -> Record:
    """Select the same attributes from each layout."""
    return {
        "item_id": record.get("parent_asin") or record.get("asin"),
        "title": _plain(record.get("title")),
        "brand": _plain(record.get("brand") or record.get("store")),
        "price": _price(record.get("price")),
        "categories": _categories(record),
        "description": _plain(record.get("description")),
    }


def _categories(record: Record) -> list[str] | None:
    """One path from wide to narrow: 2014 has several paths (the longest is used), 2018 `category`, 2023 one list."""
    paths = record.get("categories") or record.get("category")
    if not isinstance(paths, list) or not paths:
        return None
    path = max(paths, key=len) if all(isinstance(part, list) for part in paths) else paths
    return [plain for part in path if (plain := _plain(part))] or None


def _price(value: Any) -> float | None:
    """A number, or text like "$12.99"; price ranges and "None" are unknown."""
    try:
        return float(str(value).replace("$", "").replace(",", "").strip())
    except ValueError:
        return None


def _plain(value: Any) -> str | None:
    """Text without HTML entities; lists of paragraphs are joined."""
    if isinstance(value, list):
        value = " ".join(as_text(part) for part in value if part)
    return html.unescape(as_text(value)).strip() if value else None

"""Public data sets: their files, and those that require an account."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import httpx


@dataclass(frozen=True)
class Download:
    """A file to download; md5_url: where the publisher states its MD5."""

    url: str
    md5_url: str | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        return PurePosixPath(httpx.URL(self.url).path).name


def _movielens(name: str) -> tuple[Download, ...]:
    url = f"https://files.grouplens.org/datasets/movielens/{name}.zip"
    return (Download(url, f"{url}.md5"),)


SNAP = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
UCSD = "https://mcauleylab.ucsd.edu/public_datasets/data"


def _amazon_2014(category: str, *, core: bool) -> tuple[Download, ...]:
    """All reviews of a category, or only those of its 5-core, and the metadata."""
    reviews = f"reviews_{category}{'_5' if core else ''}.json.gz"
    return Download(f"{SNAP}/{reviews}"), Download(f"{SNAP}/meta_{category}.json.gz")


CATALOGUE: dict[str, tuple[Download, ...]] = {
    "ml-100k": _movielens("ml-100k"),
    "ml-1m": _movielens("ml-1m"),
    "ml-10m": _movielens("ml-10m"),
    "ml-20m": _movielens("ml-20m"),
    "ml-25m": _movielens("ml-25m"),
    "ml-32m": _movielens("ml-32m"),
    # the publisher replaces this file without notice, and states no lasting checksum
    "ml-latest-small": (Download("https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"),),
    "amazon-beauty-2014": _amazon_2014("Beauty", core=True),
    "amazon-beauty-2014-all": _amazon_2014("Beauty", core=False),
    "amazon-sports-2014": _amazon_2014("Sports_and_Outdoors", core=True),
    "amazon-sports-2014-all": _amazon_2014("Sports_and_Outdoors", core=False),
    "amazon-toys-2014": _amazon_2014("Toys_and_Games", core=True),
    "amazon-toys-2014-all": _amazon_2014("Toys_and_Games", core=False),
    "amazon-games-2014": _amazon_2014("Video_Games", core=True),
    "amazon-games-2014-all": _amazon_2014("Video_Games", core=False),
    "amazon-cds-2014": _amazon_2014("CDs_and_Vinyl", core=True),
    "amazon-cds-2014-all": _amazon_2014("CDs_and_Vinyl", core=False),
    "amazon-beauty-2018": (
        Download(f"{UCSD}/amazon_v2/categoryFilesSmall/All_Beauty_5.json.gz"),
        Download(f"{UCSD}/amazon_v2/metaFiles2/meta_All_Beauty.json.gz"),
    ),
    "amazon-beauty-2023": (
        Download(f"{UCSD}/amazon_2023/raw/review_categories/All_Beauty.jsonl.gz"),
        Download(f"{UCSD}/amazon_2023/raw/meta_categories/meta_All_Beauty.jsonl.gz"),
    ),
    "kion": (
        Download("https://github.com/irsafilo/KION_DATASET/raw/f69775be31fa5779907cf0a92ddedb70037fb5ae/data_en.zip"),
    ),
}

# data sets that require an account
BY_HAND = {"amazon-m2": "https://www.aicrowd.com/challenges/amazon-kdd-cup-23-multilingual-recommendation-challenge"}

"""Logs of one made-up shop in the shapes in which people export them. Users have one of two tastes by their number."""

import gzip
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

_START = datetime(2025, 1, 1, 8)
_PER_TASTE = 40  # items of a taste


@dataclass(frozen=True)
class Shop:
    """Files of a log: its names, two users of different tastes, and how to see an item's taste.

    Attributes:
        files: The log and, if there is one, the items' table.
        users: Ids of a user of taste 0 and of one of taste 1.
        first_item: Number in the id of the first item.
        per_taste: Items of a taste.
    """

    files: tuple[str, ...]
    users: tuple[str, str]
    first_item: int = 0
    per_taste: int = _PER_TASTE

    def taste_of(self, item_id: str) -> int:
        """Return the taste of an item."""
        return (int("".join(sign for sign in item_id if sign.isdigit())) - self.first_item) // self.per_taste


def _events(n_users: int, n_each: int) -> Iterator[tuple[int, int, datetime]]:
    """User, item and time; a user's next item is mostly the one after the last."""
    dice = random.Random(5)
    for user in range(n_users):
        item, at = dice.randrange(_PER_TASTE), _START + timedelta(hours=dice.randrange(1000))
        for _ in range(n_each):
            yield user, user % 2 * _PER_TASTE + item, at
            item = (item + 1) % _PER_TASTE if dice.random() < 0.7 else dice.randrange(_PER_TASTE)
            at += timedelta(minutes=dice.randrange(30, 3000))


def semicolons_and_german_dates(path: Path) -> Shop:
    """A spreadsheet's export: semicolons, dates such as 31.12.2025 14:05, the items beside it."""
    rows = [f"K{user:04};A{item:03};{at:%d.%m.%Y %H:%M}" for user, item, at in _events(300, 10)]
    (path / "bestellungen.csv").write_text("\n".join(["Kundennr;Artikelnr;Datum", *rows]))
    names = ("Schallplatte", "Gartenschere")
    items = [f"A{item:03};{names[item // _PER_TASTE]} Nr. {item};{names[item // _PER_TASTE]}" for item in range(80)]
    (path / "artikel.csv").write_text("\n".join(["Artikelnr;Bezeichnung;Gruppe", *items]))
    return Shop(("bestellungen.csv", "artikel.csv"), ("K0010", "K0011"))


def milliseconds_without_header(path: Path) -> Shop:
    """A dump of a database: numbers alone, Unix milliseconds, no names of columns."""
    rows = [f"{1000 + user},{500 + item},{int(at.timestamp() * 1000)}" for user, item, at in _events(1000, 20)]
    random.Random(1).shuffle(rows)
    (path / "dump.csv").write_text("\n".join(rows))
    return Shop(("dump.csv",), ("1010", "1011"), first_item=500)


def parquet_with_event_types(path: Path) -> Shop:
    """A warehouse's table: typed times, views, carts and purchases, and removals that say the contrary."""
    dice = random.Random(2)
    kinds = ("view", "view", "view", "addtocart", "purchase")
    rows = [(f"v{user}", f"p{item}", at, dice.choice(kinds)) for user, item, at in _events(1000, 20)]
    # somebody takes out of the cart what the other taste likes
    rows += [(user, f"p{79 - int(item[1:])}", at, "remove_from_cart") for user, item, at, _ in rows[::10]]
    frame = pl.DataFrame(rows, schema=["visitorid", "itemid", "event_time", "event"], orient="row")
    frame.sort("event_time").write_parquet(path / "events.parquet")
    return Shop(("events.parquet",), ("v10", "v11"))


def gzip_tabs_of_two_million(path: Path, n_users: int = 50_000, n_each: int = 40) -> Shop:
    """Two million events of 4,000 items as a compressed TSV, sorted by time; popular items are visited more often."""
    rng, per_taste = np.random.default_rng(11), 2_000
    popular = (per_taste * rng.random((n_users, n_each)) ** 2).astype(np.int64)
    jumps = rng.random((n_users, n_each)) < 0.4
    jumps[:, 0] = True
    # after a jump the next items follow one by one
    places = np.arange(n_each)
    last_jump = np.maximum.accumulate(np.where(jumps, places, 0), axis=1)
    items = (np.take_along_axis(popular, last_jump, axis=1) + places - last_jump) % per_taste
    items += (np.arange(n_users) % 2 * per_taste)[:, None]
    times = 1_735_000_000 + np.cumsum(rng.integers(60, 90_000, (n_users, n_each)), axis=1)
    columns = {
        "user_id": np.repeat(np.arange(n_users), n_each),
        "product_id": items.ravel(),
        "timestamp": times.ravel(),
    }
    with gzip.open(path / "log.tsv.gz", "wb", compresslevel=1) as file:
        file.write(pl.DataFrame(columns).sort("timestamp").write_csv(separator="\t").encode())
    return Shop(("log.tsv.gz",), ("10", "11"), per_taste=per_taste)


def cyrillic_titles(path: Path) -> Shop:
    """A Russian shop in Windows' old encoding, with titles and genres."""
    rows = [f"п{user};К-{item};{at.isoformat()}" for user, item, at in _events(200, 10)]
    (path / "журнал.csv").write_text("\n".join(["пользователь;товар;время", *rows]), encoding="cp1251")
    names = ("Пластинка", "Лопата садовая")
    genres = ("джаз|винил", "сад|инструмент")
    items = [f"К-{n};{names[n // _PER_TASTE]} номер {n};{genres[n // _PER_TASTE]}" for n in range(80)]
    (path / "товары.csv").write_text("\n".join(["код;название;жанр", *items]), encoding="cp1251")
    return Shop(("журнал.csv", "товары.csv"), ("п10", "п11"))

"""A tiny sample of every source's real layout: `write_<source>(root)` writes the files and returns the options.

Every sample but the made-up world holds the same events: ann takes a1, b2, c3 and ben takes b2, a1, in that order.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl

Options = dict[str, Any]


def lines(path: Path, *rows: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n", encoding=encoding)


def json_lines(path: Path, *rows: dict[str, Any]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def write_table(root: Path) -> Options:
    lines(
        root / "log.csv",
        "who,what,when",
        "ann,a1,2021-01-01",
        "ben,b2,2021-01-01T10:00:00Z",
        "ann,b2,2021-01-02",
        "ann,c3,2021-01-03 08:30",
        "ben,a1,2021-01-04T00:00:00+02:00",
    )
    pl.DataFrame(
        {"what": ["a1", "b2", "c3"], "title": ["A", "B", "C"], "kinds": ["x|y", "x", None], "year": [1999, 2000, None]}
    ).write_parquet(root / "things.parquet")
    json_lines(root / "people.jsonl", {"who": "ann", "clean": True}, {"who": "ben", "clean": False})
    return {
        "interactions": "log.csv",
        "items": "things.parquet",
        "users": "people.jsonl",
        "user_id": "who",
        "item_id": "what",
        "timestamp": "when",
        "lists": {"kinds": "|"},
    }


def write_events(root: Path) -> Options:
    done = [("ann", "a1"), ("ben", "b2"), ("ann", "b2"), (None, "c3"), ("ann", "c3"), ("ben", "a1")]
    rows = [
        {"user_id": user, "session_id": "s1", "item_id": item, "event_type": "click", "weight": 1.0}
        | {"time_ms": 1_700_000_000_000 + 1000 * place}
        for place, (user, item) in enumerate(done)
    ]
    shown = {**rows[0], "item_id": "b2", "event_type": "impression", "weight": 0.0}
    root.mkdir(parents=True, exist_ok=True)
    pl.DataFrame([shown, *rows]).write_parquet(root / "events.parquet")
    pl.DataFrame({"item_id": ["a1", "b2", "c3"], "title": ["A", "B", "C"]}).write_csv(root / "items.csv")
    return {"items": "items.csv"}


def write_recbole(root: Path) -> Options:
    lines(
        root / "toy.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        "ann\ta1\t4\t881250949",
        "ben\tb2\t3\t881250950",
        "ann\tb2\t5\t881250951",
        "ann\tc3\t1\t881250952",
        "ben\ta1\t2\t881250953",
    )
    lines(
        root / "toy.item",
        "item_id:token\tmovie_title:token_seq\tclass:token_seq",
        'a1\tThe "A"\tDrama War',
        "b2\tB\tWar",
        "c3\tC\t",
    )
    lines(root / "toy.user", "user_id:token\tage:token", "ann\t20", "ben\t30")
    return {}


def write_movielens(root: Path) -> Options:
    """The 1M layout; the others have tests of their own."""
    lines(
        root / "ml" / "ratings.dat",
        "ann::a1::5::978300760",
        "ben::b2::3::978300761",
        "ann::b2::4::978300762",
        "ann::c3::2::978300763",
        "ben::a1::1::978300764",
    )
    lines(
        root / "ml" / "movies.dat",
        "a1::Amélie (2001)::Comedy|Romance",
        "b2::B, The (1990)::Drama",
        "c3::C::War",
        encoding="latin-1",
    )
    lines(root / "ml" / "users.dat", "ann::F::1::10::48067", "ben::M::56::16::70072")
    return {}


def write_amazon(root: Path) -> Options:
    """The 2018 layout; the others have tests of their own."""
    events = [
        ("ann", "a1", 5.0, 1_400_000_000),
        ("ben", "b2", 3.0, 1_400_000_001),
        ("ann", "b2", 4.0, 1_400_000_002),
        ("ann", "c3", 1.0, 1_400_000_003),
        ("ben", "a1", 2.0, 1_400_000_004),
    ]
    keys = ("reviewerID", "asin", "overall", "unixReviewTime")
    json_lines(root / "Toy_5.json.gz", *({**dict(zip(keys, e, strict=True)), "reviewText": "fine"} for e in events))
    json_lines(
        root / "meta_Toy.json.gz",
        {
            "asin": "a1",
            "title": "A &amp; Co",
            "category": ["Toys", "Cars"],
            "price": "$12.99",
            "description": ["x", "y"],
        },
        {"asin": "b2", "title": "B", "category": [], "price": "$1.00 - $2.00", "brand": "Bee"},
        {"asin": "c3", "title": "C"},
    )
    return {}


def write_kion(root: Path) -> Options:
    lines(
        root / "interactions.csv",
        "user_id,item_id,last_watch_dt,total_dur,watched_pct",
        "ann,a1,2021-05-11,4250,72.0",
        "ben,b2,2021-05-11,80,100.0",
        "ann,b2,2021-05-12,80,",
        "ann,c3,2021-07-01,10,3.0",
        "ben,a1,2021-08-01,1,0.0",
    )
    lines(
        root / "items_en.csv",
        "item_id,content_type,title,release_year,genres,keywords",
        'a1,film,A,1999.0,"drama, war","x, y"',
        "b2,series,B,2000.0,comedy,",
        "c3,film,C,,,",
    )
    lines(root / "users_en.csv", "user_id,age,kids_flg", "ann,age_25_34,True", "ben,age_35_44,False")
    return {}


def write_amazon_m2(root: Path) -> Options:
    """Sessions UK-2 and UK-3 stand for ann and ben."""
    lines(
        root / "sessions_train.csv",
        "prev_items,next_item,locale",
        "\"['a1' 'b2']\",c3,UK",
        "['b2'],a1,UK",
        "['zz'],a1,DE",
    )
    lines(
        root / "products_train.csv",
        "id,locale,title,price,brand,desc",
        "a1,DE,Ah,1.0,X,de",
        "a1,UK,A,12.5,X,nice",
        "b2,UK,B,3,,",
        "c3,UK,C,4,Y,good",
    )
    return {}


def write_synthetic(root: Path) -> Options:
    return {"users": 60, "items": 40, "mean_length": 8, "seed": 3}

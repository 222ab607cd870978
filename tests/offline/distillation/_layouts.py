"""The published data sets' own file layouts, small and made up: each user walks through the items by fixed steps."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

N_USERS, N_ITEMS = 80, 12
_GENRES = ("Drama", "War", "Comedy", "Crime", "Western", "Musical", "Horror", "Romance", "Mystery", "Fantasy")


def events() -> Iterator[tuple[int, int, int]]:
    """(user, item, day): everybody has 5 to 8 events; the last fifth of the days holds some of most users'."""
    for user in range(1, N_USERS + 1):
        for nth in range(5 + user % 4):
            yield user, (user + nth) % N_ITEMS + 1, nth * 11 + user % 7


def write_kion(root: Path) -> None:
    rows = [f"{user},{item},2021-{3 + day // 28:02}-{1 + day % 28:02},100,90.0" for user, item, day in events()]
    _lines(root / "interactions.csv", "user_id,item_id,last_watch_dt,total_dur,watched_pct", *rows)
    films = [f'{item},film,Film {item},{1990 + item},"{_genre(item)}",word' for item in range(1, N_ITEMS + 1)]
    _lines(root / "items_en.csv", "item_id,content_type,title,release_year,genres,keywords", *films)


def write_beauty(root: Path) -> None:
    """The 2014 layout."""
    keys = ("reviewerID", "asin", "overall", "unixReviewTime")
    rows = [(f"A{user}", f"B{item}", 5.0, 1_400_000_000 + 86_400 * day) for user, item, day in events()]
    _lines(root / "reviews_Beauty.json", *(json.dumps(dict(zip(keys, row, strict=True))) for row in rows))
    goods = [
        {"asin": f"B{item}", "title": f"Cream {item}", "brand": _genre(item), "categories": [["Beauty", _genre(item)]]}
        for item in range(1, N_ITEMS + 1)
    ]
    _lines(root / "meta_Beauty.json", *map(json.dumps, goods))


def write_cds(root: Path) -> None:
    """Amazon's 2014 layout again, under the name of the set."""
    write_beauty(root)
    (root / "reviews_Beauty.json").rename(root / "reviews_CDs_and_Vinyl.json")
    (root / "meta_Beauty.json").rename(root / "meta_CDs_and_Vinyl.json")


def write_games(root: Path) -> None:
    """And again."""
    write_beauty(root)
    (root / "reviews_Beauty.json").rename(root / "reviews_Video_Games_5.json")
    (root / "meta_Beauty.json").rename(root / "meta_Video_Games.json")


def write_ml20m(root: Path) -> None:
    rows = [f"{user},{item},4.5,{1_400_000_000 + 86_400 * day}" for user, item, day in events()]
    _lines(root / "ratings.csv", "userId,movieId,rating,timestamp", *rows)
    films = [f"{item},Film {item} ({1990 + item}),{_genre(item)}" for item in range(1, N_ITEMS + 1)]
    _lines(root / "movies.csv", "movieId,title,genres", *films)


def write_ml1m(root: Path) -> None:
    rows = [f"{user}::{item}::4::{1_400_000_000 + 86_400 * day}" for user, item, day in events()]
    _lines(root / "ratings.dat", *rows)
    _lines(root / "movies.dat", *(f"{i}::Film {i} ({1990 + i})::{_genre(i)}" for i in range(1, N_ITEMS + 1)))


def write_yelp(root: Path) -> None:
    keys = ("user_id", "business_id", "stars", "date")
    rows = [
        (f"u{user}", f"b{item}", 4.0, f"2019-{3 + day // 28:02}-{1 + day % 28:02} 10:00:00")
        for user, item, day in events()
    ]
    reviews = (json.dumps(dict(zip(keys, row, strict=True))) for row in rows)
    _lines(root / "yelp_academic_dataset_review.json", *reviews)
    shops = [
        {"business_id": f"b{item}", "name": f"Shop {item}", "city": "Reno", "categories": f"Food, {_genre(item)}"}
        for item in range(1, N_ITEMS + 1)
    ]
    _lines(root / "yelp_academic_dataset_business.json", *map(json.dumps, shops))


def write_m2(root: Path) -> None:
    sessions: dict[int, list[str]] = {}
    for user, item, _ in events():
        sessions.setdefault(user, []).append(f"P{item}")
    rows = []
    for *earlier, last in sessions.values():
        listed = " ".join(f"'{item}'" for item in earlier)
        rows.append(f'"[{listed}]",{last},UK')
    _lines(root / "sessions_train.csv", "prev_items,next_item,locale", *rows)
    goods = [f"P{item},UK,Thing {item},3.5,{_genre(item)},nice" for item in range(1, N_ITEMS + 1)]
    _lines(root / "products_train.csv", "id,locale,title,price,brand,desc", *goods)


WRITERS: dict[str, Callable[[Path], None]] = {
    "kion": write_kion,
    "beauty": write_beauty,
    "ml20m": write_ml20m,
    "m2": write_m2,
    "ml1m": write_ml1m,
    "cds": write_cds,
    "games": write_games,
    "toys": write_games,
    "sports": write_games,
    "ml10m": write_ml1m,
    "yelp": write_yelp,
}


def _genre(item: int) -> str:
    return _GENRES[item % len(_GENRES)]


def _lines(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")

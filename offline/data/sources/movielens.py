"""MovieLens as GroupLens publishes it: 100K (`u.data`), 1M and 10M (`.dat`), 20M, 32M and latest (`ratings.csv`).

https://grouplens.org/datasets/movielens/. The layout is recognised by the files. They may also be in a subdirectory of
the data directory, because the archives unpack so.
"""

from pathlib import Path

import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.common.section import Section
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables
from retort.offline.data.sources._files import find_file, find_optional_file, read_delimited, table

EVENTS = ("user_id", "item_id", "weight", "timestamp")
NO_GENRES = "(no genres listed)"
# flags of u.item, in its order
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


# ratings of each layout → its files of films and users
_BESIDE = {"u.data": ("u.item", "u.user"), "ratings.dat": ("movies.dat", "users.dat"), "ratings.csv": ("movies.csv",)}


class Config(Section):
    """No options: the layouts are fixed. Ratings become weights; filter them with [data] min_weight."""


def files(config: Config, root: Path | None) -> dict[str, Path]:
    """Return the ratings and, where the layout has them, films and users."""
    ratings = _find_file(root, *_BESIDE)
    beside = (find_optional_file(ratings.parent, name) for name in _BESIDE[ratings.name])
    return {path.stem: path for path in (ratings, *beside) if path}


def read(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> RawTables:
    """Read ratings, films (title, year, genres) and, where the layout has them, users."""
    path = _find_file(root, *_BESIDE)
    progress.say(f"reading {path}")
    if path.name == "u.data":
        return _read_100k(path, rejects)
    if path.name == "ratings.dat":
        return _read_dat(path, rejects)
    return _read_csv(path, rejects)


def _read_100k(path: Path, rejects: Rejects) -> RawTables:
    events = read_delimited(path, rejects, separator="\t", header=EVENTS, quoted=False)
    items: tuple[RawTable, ...] = ()
    users: tuple[RawTable, ...] = ()
    if films := find_optional_file(path.parent, "u.item"):
        header = ["item_id", "title", "release_date", "video_release_date", "imdb_url", *GENRES_100K]
        frame = read_delimited(films, rejects, separator="|", header=header, quoted=False, encoding="latin-1")
        flagged = pl.concat_list(pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES_100K)
        frame = frame.select("row", "item_id", "title", genres=flagged.list.drop_nulls())
        items = (_films(films, frame),)
    if people := find_optional_file(path.parent, "u.user"):
        header = ["user_id", "age", "gender", "occupation", "zip_code"]
        frame = read_delimited(people, rejects, separator="|", header=header, quoted=False, encoding="latin-1")
        users = (RawTable(people.name, frame),)
    return RawTables((RawTable(path.name, events),), items, users, time_unit="s")


def _read_dat(path: Path, rejects: Rejects) -> RawTables:
    events = read_delimited(path, rejects, separator="::", header=EVENTS, quoted=False, encoding="latin-1")
    items: tuple[RawTable, ...] = ()
    users: tuple[RawTable, ...] = ()
    if films := find_optional_file(path.parent, "movies.dat"):
        header = ["item_id", "title", "genres"]
        frame = read_delimited(films, rejects, separator="::", header=header, quoted=False, encoding="latin-1")
        items = (_films(films, frame),)
    if people := find_optional_file(path.parent, "users.dat"):
        header = ["user_id", "gender", "age", "occupation", "zip_code"]
        frame = read_delimited(people, rejects, separator="::", header=header, quoted=False, encoding="latin-1")
        users = (RawTable(people.name, frame),)
    return RawTables((RawTable(path.name, events),), items, users, time_unit="s")


def _read_csv(path: Path, rejects: Rejects) -> RawTables:
    columns = {"user_id": "userId", "item_id": "movieId", "weight": "rating", "timestamp": "timestamp"}
    events = table(path, read_delimited(path, rejects), columns)
    items: tuple[RawTable, ...] = ()
    if films := find_optional_file(path.parent, "movies.csv"):
        named = table(films, read_delimited(films, rejects), {"item_id": "movieId"}, others=True)
        items = (_films(films, named.frame),)
    return RawTables((events,), items, time_unit="s")


def _films(path: Path, frame: pl.LazyFrame) -> RawTable:
    """Add the year from the end of the title, and genres as a list."""
    year = pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int64)
    frame = frame.with_columns(year=year)
    if frame.collect_schema()["genres"] == pl.String:
        frame = frame.with_columns(pl.col("genres").replace(NO_GENRES, None))
    return RawTable(path.name, frame, lists={"genres": "|"})


def _find_file(root: Path | None, *names: str) -> Path:
    """Find a file in the data directory or a direct subdirectory."""
    return find_file(root, *names, *(f"*/{name}" for name in names))

"""Columns of an event log: which are user, item, time, event type and rating, and how sure that is."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from retort.offline.quickstart.moments import Moment, recognise_times
from retort.shared.base.errors import DataError

Role = Literal["user", "item", "time", "position", "type", "rating"]
Certainty = Literal["sure", "likely", "a guess"]

_NAMES: dict[Role, tuple[str, str]] = {
    # role → (words that name it alone, words that name it beside others)
    "user": (
        "user|users|userid|uid|query|queryid|customer|customerid|client|clientid|visitor|visitorid|member|buyer|shopper"
        "|account|reviewer|reviewerid|profile|kunde|kundennr|kundennummer|utilisateur|usuario|cliente|пользователь|клиент"
        "|покупатель",
        "user|customer|client|visitor|member|buyer|shopper|account|reviewer|kunde|kunden|пользователь|клиент|session",
    ),
    "item": (
        "item|items|itemid|iid|product|productid|sku|article|articleid|asin|movie|movieid|film|track|trackid|song|book"
        "|bookid|isbn|isbn13|game|video|videoid|content|contentid|artikel|artikelnr|artikelnummer|produkt|produit|producto"
        "|товар|фильм|книга|artist|job|news|offer|listing|adid",
        "item|product|sku|article|asin|movie|film|track|song|book|isbn|game|video|content|artikel|produkt|товар|фильм",
    ),
    "time": (
        "time|timestamp|ts|date|datetime|at|when|created|zeit|datum|zeitpunkt|время|дата|fecha|heure|unixtime|t",
        "time|timestamp|date|datetime|at|unix|zeit|datum|время|дата|created|start",
    ),
    "position": ("position|pos|step|sequence|seq|order|ordernr|reihenfolge", "position|step|sequence"),
    "type": (
        "event|eventtype|type|action|actiontype|behavior|behaviour|interaction|kind|aktion|ereignis|событие|verb",
        "event|action|behavior|behaviour|interaction|type|ereignis|событие",
    ),
    "rating": (
        "rating|ratings|score|stars|overall|grade|bewertung|note|оценка|рейтинг|playcount|plays|count|weight",
        "rating|score|stars|bewertung|оценка",
    ),
}
_MAX_TYPES = 40  # distinct values of a column of event types
_LEAST_SCORE = 0.5


def names_of_columns() -> list[str]:
    """Return the words that name a column of a log."""
    return [word for pair in _NAMES.values() for words in pair for word in words.split("|")]


@dataclass(frozen=True)
class Chosen:
    """A column and its role. reason: why, in a few words."""

    column: str
    certainty: Certainty
    reason: str


@dataclass(frozen=True)
class EventColumns:
    """The columns of an event log.

    Attributes:
        moment: How the times are written.
        types: Type of event → its number in the first rows.
    """

    user: Chosen
    item: Chosen
    time: Chosen | None = None
    position: Chosen | None = None
    type: Chosen | None = None
    rating: Chosen | None = None
    moment: Moment | None = None
    types: Mapping[str, int] = field(default_factory=dict)


def choose_event_columns(
    frame: pl.DataFrame,
    file: str,
    item_ids: frozenset[str] = frozenset(),
    given: Mapping[str, str] | None = None,
) -> EventColumns:
    """Choose the columns of an event log by their names, and by their values where names say nothing.

    Args:
        frame: The first rows of the log.
        item_ids: Ids of the items' table, if there is one: the item column is the one that contains them.
        given: role → column, as the user named them.

    Raises:
        DataError: No two columns can be user and item.
    """
    chosen: dict[Role, Chosen] = {
        role: Chosen(given[role], "sure", "given") for role in _NAMES if given and role in given
    }
    moments = {name: recognise_times(frame[name]) for name in frame.columns}
    for score, role, name in _scored_columns(frame, moments, item_ids):
        if role not in chosen and name not in {other.column for other in chosen.values()}:
            chosen[role] = Chosen(name, _certainty(score, name, role), _reason(name, role, moments[name]))
    needed: tuple[Role, ...] = ("user", "item")
    for role in needed:
        if role not in chosen:
            raise _no_column(frame, file, role)
    if "time" not in chosen and "position" not in chosen:
        _choose_unread_time(frame, file, chosen)
    time = chosen.get("time")
    return EventColumns(
        user=chosen["user"],
        item=chosen["item"],
        time=time,
        position=None if time else chosen.get("position"),
        type=chosen.get("type"),
        rating=chosen.get("rating"),
        moment=moments[time.column] if time else None,
        types=_counts(frame[chosen["type"].column]) if "type" in chosen else {},
    )


def _scored_columns(
    frame: pl.DataFrame, moments: Mapping[str, Moment | None], item_ids: frozenset[str]
) -> list[tuple[float, Role, str]]:
    """Return (score, role, column), highest score first; of equal ones a user before an item, then from the left."""
    within = _column_within(frame, item_ids)
    scored: list[tuple[float, Role, str]] = []
    for name in frame.columns:
        roles: Iterable[Role] = ("time", "position") if _by_name(name, "time") >= 2 else _NAMES
        for role in roles:
            score = _by_name(name, role) + _by_values(frame[name], role, moments[name])
            score += 2.0 if role == "item" and name == within else 0.0
            if score >= _LEAST_SCORE:
                scored.append((score, role, name))
    order = list(_NAMES)
    return sorted(scored, key=lambda entry: (-entry[0], order.index(entry[1])))


def _no_column(frame: pl.DataFrame, file: str, role: Role) -> DataError:
    """Return the error for a log without a column of users or items."""
    if (same := _only_one(frame, role)) is not None:
        return DataError(
            f"{file}: column {same!r} has the same {role} in all of its first {frame.height:,} rows; a "
            f"recommender learns from several {role}s: give a log with more of them, or shuffle a file that is "
            f"sorted by {role}."
        )
    found = ", ".join(frame.columns[:20])
    return DataError(
        f"{file}: no column looks like the {role} of an event (its columns: {found}); name the columns with "
        "--user and --item."
    )


def _only_one(frame: pl.DataFrame, role: Role) -> str | None:
    """Return the column that is named as this id but has a single value."""
    named = (name for name in frame.columns if _by_name(name, role) >= 2 and not frame[name].dtype.is_nested())
    return next((name for name in named if frame[name].drop_nulls().n_unique() == 1), None)


def _choose_unread_time(frame: pl.DataFrame, file: str, chosen: dict[Role, Chosen]) -> None:
    """Take small whole numbers under a time's name for positions.

    Raises:
        DataError: A column is named as a time, and its values cannot be read: the order of the rows may be another one.
    """
    taken = {one.column for one in chosen.values()}
    for name in frame.columns:
        known = frame[name].drop_nulls()
        if name in taken or _by_name(name, "time") < 2 or not len(known) or known.dtype.is_nested():
            continue
        whole = known.cast(pl.String).cast(pl.Int64, strict=False)
        if not whole.null_count() and (whole.is_between(0, 10**8)).all():
            chosen["position"] = Chosen(name, "a guess", "small whole numbers are no times, but an order")
            return
        raise DataError(
            f"{file}: column {name!r} is named as a time, but its values are no times, such as "
            f"{_first_odd(known)[:40]!r}; write them as 2021-03-14 15:09:26 or as seconds since 1970, or rename the "
            "column if it is no time."
        )


def _first_odd(values: pl.Series) -> str:
    """Return the first value that is no time where its neighbours are, else the first value."""
    texts = values.cast(pl.String)
    return str(next((text for text in texts.head(200) if recognise_times(pl.Series([text])) is None), texts[0]))


def _by_name(name: str, role: Role) -> float:
    alone, beside = _NAMES[role]
    words = _words(name)
    joined = "".join(word for word in words if word not in ("id", "nr", "no", "number", "hash", "key", "code"))
    if re.fullmatch(alone, joined) or re.fullmatch(alone, "".join(words)):
        return 2.0
    if any(re.fullmatch(beside, word) for word in words):
        return 1.0
    return 0.0


def _words(name: str) -> list[str]:
    """Split a column's name into lower-case words: customerId → customer, id."""
    name = name.partition(":")[0]  # RecBole's files: user_id:token
    spaced = re.sub(r"([a-zа-яё0-9])([A-ZА-ЯЁ])", r"\1 \2", name)
    return [word for word in re.split(r"[\W_]+", spaced.lower()) if word]


def _by_values(values: pl.Series, role: Role, moment: Moment | None) -> float:
    """Return what the values say, from −3 (impossible) to 0.75."""
    known = values.drop_nulls()
    if not len(known) or values.dtype.is_nested():
        return -3.0
    n_distinct, share = known.n_unique(), len(known) / len(values)
    if role == "time":
        return (0.75 if moment.sure else 0.5) if moment else -3.0
    if role == "position":
        return 0.0 if known.dtype.is_integer() or known.cast(pl.Int64, strict=False).null_count() == 0 else -3.0
    if role == "rating":
        numbers = known.cast(pl.Float64, strict=False)
        if numbers.null_count() or moment is not None:
            return -3.0
        few = n_distinct <= 21 and n_distinct > 1
        return 0.25 if few else -0.25
    if role == "type":
        words = known.dtype == pl.String and known.str.contains(r"\p{L}").all()
        is_few = 1 < n_distinct <= min(_MAX_TYPES, max(2, len(known) // 5))
        return (0.5 if is_few else -3.0) if words else -3.0
    # ids
    if moment is not None and _by_name(values.name, role) < 1:
        return -3.0
    if known.dtype == pl.Boolean or n_distinct < 2 or share < 0.5 or _has_fractions(known):
        return -3.0
    return 0.5 if len(known) < 50 or 10 <= n_distinct < len(known) else 0.0


def _column_within(frame: pl.DataFrame, item_ids: frozenset[str]) -> str | None:
    """Return the only column with ids of the items' table; None if several have about as many of them."""
    shares = {}
    for name in frame.columns if item_ids else ():
        values = frame[name].drop_nulls()
        if len(values) and not values.dtype.is_nested():
            texts = values.cast(pl.String).str.strip_chars().unique()
            shares[name] = float(texts.is_in(list(item_ids)).mean() or 0.0)  # type: ignore[arg-type]
    best, second = [*sorted(shares, key=lambda name: -shares[name]), "", ""][:2]
    return best if shares.get(best, 0.0) > 2 * shares.get(second, 0.0) else None


def _has_fractions(values: pl.Series) -> bool:
    numbers = values.cast(pl.Float64, strict=False)
    return not numbers.null_count() and bool((numbers % 1 != 0).any())


def _certainty(score: float, name: str, role: Role) -> Certainty:
    if _by_name(name, role) >= 2:
        return "sure"
    return "likely" if score > 1 else "a guess"


def _reason(name: str, role: Role, moment: Moment | None) -> str:
    reason = "by its name" if _by_name(name, role) else "by its values"
    return f"{reason}, {moment.note}" if role == "time" and moment else reason


def _counts(values: pl.Series) -> dict[str, int]:
    counted = values.cast(pl.String).str.strip_chars().drop_nulls().value_counts(sort=True)
    return dict(counted.iter_rows())

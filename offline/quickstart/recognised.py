"""What the quickstart recognises in two files: layouts, columns, event weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from retort.offline.quickstart.encodings import is_guessed
from retort.offline.quickstart.event_columns import Chosen, EventColumns, choose_event_columns
from retort.offline.quickstart.item_columns import ItemColumns, choose_id_column, choose_item_columns, ids_of
from retort.offline.quickstart.layout import Layout, read_layout
from retort.shared.base.errors import DataError

# type of event → weight: a purchase says more than a view
_WEIGHTS: Mapping[float, tuple[str, ...]] = {
    5.0: ("purchase", "buy", "order", "transaction", "checkout", "paid", "subscribe", "kauf", "bestellung", "покупка"),
    3.0: ("cart", "basket", "fav", "like", "wishlist", "save", "bookmark", "share", "warenkorb", "корзин"),
    1.0: ("view", "click", "detail", "play", "read", "listen", "watch", "open", "ansicht", "просмотр"),
}
_NEGATIVE = ("remove", "delete", "dislike", "return", "refund", "cancel", "impression", "unlike", "skip", "storno")


@dataclass(frozen=True)
class Recognised:
    """Two files and what their columns mean. weights: type of event → weight."""

    events: Layout
    columns: EventColumns
    items: Layout | None
    item_columns: ItemColumns | None
    weights: dict[str, float]
    left_out: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return what was recognised and how sure it is, one line a fact."""
        lines = [f"{self.events.path.name}: {', '.join(self.events.notes)}"]
        columns = self.columns
        named: dict[str, Chosen | None] = {
            "user": columns.user,
            "item": columns.item,
            "time": columns.time,
            "position in the history": columns.position,
            "type of event": columns.type,
            "rating (kept for reports; every event counts)": columns.rating,
        }
        for what, chosen in named.items():
            if chosen:
                lines.append(f"  {what}: column {chosen.column!r} ({chosen.certainty}, {chosen.reason})")
        if columns.time is None and columns.position is None:
            lines.append("  time: no column; the order of the rows is the order of events")
        if self.weights:
            listed = ", ".join(f"{name} {weight:g}" for name, weight in self.weights.items())
            left = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
            lines.append(f"  weights of events: {listed}{left}")
        if self.items and self.item_columns:
            lines.append(f"{self.items.path.name}: {', '.join(self.items.notes)}")
            title = f"title {self.item_columns.title!r}" if self.item_columns.title else "no title"
            attributes = ", ".join(map(repr, self.item_columns.attributes)) or "none"
            lines.append(f"  id {self.item_columns.item!r}, {title}, attributes in the text: {attributes}")
        else:
            lines.append("no items' file: items have no titles and texts")
        return lines


def recognise(events: Path, items: Path | None, names: Mapping[str, str | None] | None = None) -> Recognised:
    """Recognise the columns of a log and an items' table.

    Args:
        names: Columns that the user names: user, item, time, type, rating.

    Raises:
        DataError: A file is no table, or a column cannot be found.
    """
    log = read_layout(events)
    if not log.frame.height:
        raise DataError(f"{events.name} has no rows; give a log with events.")
    table = read_layout(items) if items else None
    if table is not None and log.encoding != table.encoding and is_guessed(log.encoding) and is_guessed(table.encoding):
        log = read_layout(events, table.encoding)  # titles tell an encoding better than ids do
    item_columns, ids = None, frozenset[str]()
    if table is not None:
        named = (names or {}).get("item")
        events_frame = log.frame.select(named) if named in log.frame.columns else log.frame
        id_column = choose_id_column(table.frame, events_frame, table.path.name)
        item_columns, ids = choose_item_columns(table.frame, id_column), ids_of(table.frame, id_column)
    columns = _with_given(log, {key: name for key, name in (names or {}).items() if name}, ids)
    weights, left_out = _weights(columns)
    if not weights and columns.type is not None:
        columns = replace(columns, type=None)
    return Recognised(log, columns, table, item_columns, weights, left_out)


def _with_given(log: Layout, given: Mapping[str, str], ids: frozenset[str]) -> EventColumns:
    """Choose the columns, those that the user names first."""
    for name in given.values():
        if name not in log.frame.columns:
            raise DataError(
                f"{log.path.name} has no column {name!r}; its columns are: {', '.join(log.frame.columns[:20])}."
            )
    return choose_event_columns(log.frame, log.path.name, ids, given)


def _weights(columns: EventColumns) -> tuple[dict[str, float], tuple[str, ...]]:
    """Weigh the types of events; types that say "not this item" are left out."""
    weights: dict[str, float] = {}
    left_out = []
    for name in columns.types:
        word = name.lower()
        if any(negative in word for negative in _NEGATIVE):
            left_out.append(name)
        else:
            fitting = (weight for weight, words in _WEIGHTS.items() if any(known in word for known in words))
            weights[name] = next(fitting, 1.0)
    return weights, tuple(left_out)

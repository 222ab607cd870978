"""Hints about accepted events that probably differ from what the sender meant."""

from collections.abc import Sequence

from retort.serving.feedback.events import Accepted
from retort.serving.models.bundles import LiveBundle
from retort.serving.schemas.requests import Event

_MAX_HINTS = 10


def event_hints(events: Sequence[Event], accepted: Accepted, bundle: LiveBundle | None) -> list[dict[str, str]]:
    """Return hints, each with the place of its event and field: at most ten, as their number is limited."""
    hints = [] if bundle is None else _unknown_items(events, bundle)
    if accepted.reused:
        hints.insert(0, _reused(accepted.reused, len(events)))
    return hints[:_MAX_HINTS]


def _unknown_items(events: Sequence[Event], bundle: LiveBundle) -> list[dict[str, str]]:
    index = bundle.catalogue.index
    why = (
        f"The bundle {bundle.name} does not know this item, so the event changes no recommendation until an item with "
        "this id is added or trained; check the id if it is no new item."
    )
    unknown = [place for place, event in enumerate(events) if event.item_id not in index]
    return [{"where": f"{place}.item_id", "why": why} for place in unknown]


def _reused(count: int, n_events: int) -> dict[str, str]:
    which = "The event was" if n_events == 1 else f"{count} of the events {'was' if count == 1 else 'were'}"
    return {
        "where": "event_id",
        "why": f"{which} not stored: the event_id belongs to an earlier event of the same user or session with another "
        "item. Give each event an id of its own.",
    }

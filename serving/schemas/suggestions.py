"""Suggestions for field names that a request body or a query string does not have."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

# Names of other APIs, without separators and in lower case.
_OTHER_NAMES = {
    "k": ("n", "limit", "count", "size", "num", "number", "topk", "topn", "maxresults", "numresults"),
    "user_id": ("uid", "customer", "customerid", "visitorid"),
    "session_id": ("sid", "guest", "guestid", "anonymousid"),
    "item_id": ("iid", "product", "productid", "sku"),
    "event_type": ("action", "eventname", "feedbacktype"),
    "timestamp": ("ts", "date", "datetime", "eventtime"),
    "candidates": ("include", "only", "whitelist", "allowlist"),
    "exclude": ("except", "blacklist", "blocklist", "hide", "seen"),
    "filter": ("where", "query"),
}


def suggest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, or None."""
    fields = {_plain(field): field for field in known}
    plain = _plain(name)
    if plain in fields:
        return fields[plain]
    for field, others in _OTHER_NAMES.items():
        if plain in others and _plain(field) in fields:
            return field
    if plain == "id" and len(ids := [field for key, field in fields.items() if key.endswith("id")]) == 1:
        return ids[0]
    if len(plain) > 2:
        parts = [field for key, field in fields.items() if len(key) > 2 and (plain in key or key in plain)]
        if len(parts) == 1:
            return parts[0]
    near = get_close_matches(plain, fields, n=1, cutoff=0.6)
    return fields[near[0]] if near else None


def field_names(model: Any, location: Sequence[str | int]) -> list[str]:
    """Return the field names of the model, or of the model inside it, that the parent of a location has."""
    for step in location[:-1]:
        if isinstance(step, int):
            continue
        fields = _fields(model)
        model = fields[step].annotation if step in fields else None
    return list(_fields(model))


def _fields(annotation: Any) -> dict[str, Any]:
    """Fields of the first model in an annotation such as `list[Pin] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return dict(annotation.model_fields)
    for part in get_args(annotation):
        if fields := _fields(part):
            return fields
    return {}


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").replace(" ", "").lower()

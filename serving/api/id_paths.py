"""Users' ids in paths: an id may hold slashes, and may end like a route.

`/users/a%2Fprofile` is the user `a/profile`, `/users/a/profile` the profile of `a`; decoded they are the same.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import BeforeValidator

from retort.serving.schemas.requests import Id

_ENCODED = re.compile(rb"%2[fF]")
# A lone surrogate: no path that was decoded holds one, and no id.
_SLASH = "\udc2f"

PathId = Annotated[Id, BeforeValidator(lambda given: given.replace(_SLASH, "/"))]


def routed_path(scope: Mapping[str, Any]) -> str:
    """The path of an ASGI request as routes are to match it: the slashes of a user's id are no slashes there."""
    path: str = scope["path"]
    if not path.startswith("/users/"):
        return path
    parts = _ENCODED.split(scope.get("raw_path") or path.encode())
    return path if len(parts) == 1 else _SLASH.join(unquote(part.decode("latin-1")) for part in parts)

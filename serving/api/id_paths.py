"""User and item ids in paths: an id may hold slashes and may end like a route.

`/users/a%2Fprofile` is the user `a/profile`, `/users/a/profile` is the profile of `a`; decoded they are equal.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Request
from pydantic import BeforeValidator

from retort.serving.schemas.requests import Id

_ENCODED = re.compile(rb"%2[fF]")
# A lone surrogate, which neither a decoded path nor an id can hold.
_SLASH = "\udc2f"

PathId = Annotated[Id, BeforeValidator(lambda path_id: path_id.replace(_SLASH, "/"))]


def path_id_as_sent(request: Request, name: str) -> str:
    """Return the id in a path as it was sent, which is how earlier versions stored it."""
    return str(request.path_params[name]).replace(_SLASH, "/")


def routed_path(scope: Mapping[str, Any]) -> str:
    """Return the path for route matching: encoded slashes of an id are replaced by a placeholder."""
    path: str = scope["path"]
    if not path.startswith(("/users/", "/items/")):
        return path
    parts = _ENCODED.split(scope.get("raw_path") or path.encode())
    return path if len(parts) == 1 else _SLASH.join(unquote(part.decode("latin-1")) for part in parts)

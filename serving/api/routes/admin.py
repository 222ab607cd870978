"""Who may use the admin routes; asked before the body and the path are looked at."""

from typing import Annotated

from fastapi import Depends, Request

from retort.serving.api.auth import Caller, Scope


async def admitted(request: Request) -> Caller:
    """The caller, if their key has the admin scope; a Problem 401, 403 or 429 otherwise."""
    caller: Caller = await request.app.services.door.enter(dict(request.scope["headers"]), Scope.ADMIN)
    return caller


Admin = Annotated[Caller, Depends(admitted)]

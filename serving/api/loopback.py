"""Protection of a server without API keys from web pages that the user's browser shows.

Such a server listens on loopback only, but any web page can send requests to it. A page whose domain resolves to
127.0.0.1 (DNS rebinding) could even read the answers; its requests name a foreign host.
"""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urlsplit

from retort.serving.api.asgi import DATA_PATHS, PROBE_PATHS, AsgiApp, Scope, Send, request_id_of, send_problem
from retort.serving.api.body_reader import Receive
from retort.serving.schemas.problems import Problem, for_path

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def is_loopback(host: str) -> bool:
    """Return whether this host name or address is loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def loopback_only(app: AsgiApp, in_container: bool) -> AsgiApp:
    """Wrap the application of a server without keys.

    Args:
        in_container: The server is behind a proxy or in a container (RETORT_REACHED_AT): names without a dot are hosts
            of its private network, and probes may use any host.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (problem := _problem_of(scope, in_container)) is not None:
            await send_problem(send, for_path(problem, scope["path"]), request_id_of(dict(scope["headers"])))
            return
        await app(scope, receive, send)

    return guarded


def _problem_of(scope: Scope, in_container: bool) -> Problem | None:
    path: str = scope["path"]
    is_write = scope["method"] not in _SAFE_METHODS or path.startswith(DATA_PATHS)
    for name, value in scope["headers"]:
        if name == b"host":
            if not _is_allowed_host(value, in_container) and not (in_container and path.startswith(PROBE_PATHS)):
                return _foreign_host()
        elif is_write and (
            (name == b"origin" and not _is_loopback_origin(value))
            or (name == b"referer" and not _is_loopback_page(value))
            or (name == b"sec-fetch-site" and value.strip().lower() == b"cross-site")
        ):
            return _cross_site()
    return None


@lru_cache(256)
def _is_allowed_host(value: bytes, in_container: bool) -> bool:
    host = _host_of(b"//" + value)
    return host is not None and (is_loopback(host) or (in_container and host != "" and set(".:").isdisjoint(host)))


@lru_cache(256)
def _is_loopback_origin(value: bytes) -> bool:
    host = _host_of(value)
    return host is not None and is_loopback(host)


@lru_cache(256)
def _is_loopback_page(value: bytes) -> bool:
    """Whether a page may send requests; older browsers name the page alone, in `Referer`. A blank one names nothing."""
    origin = re.match(rb"\s*(?:[^/?#]*//[^/?#]*)?", value)
    return not value.strip() or (origin is not None and _is_loopback_origin(origin[0]))


def _host_of(address: bytes) -> str | None:
    """Return the host of an address, without the port; None for what is no address, and for one with a user name."""
    try:
        parts = urlsplit(address.decode("ascii").strip())
        is_more = "@" in parts.netloc or parts.path or parts.query or parts.fragment
        return None if is_more or parts.port == 0 else (parts.hostname or "")
    except ValueError:  # also a port that is no number
        return None


def _foreign_host() -> Problem:
    return Problem(
        421,
        "This server has no API keys and answers only requests to a loopback address; use http://127.0.0.1 and its "
        "port, or set RETORT_KEYS_FILE.",
    )


def _cross_site() -> Problem:
    return Problem(
        403,
        "This server has no API keys and refuses requests of web pages from other sites; call it from the console or a "
        "program, or set RETORT_KEYS_FILE.",
    )

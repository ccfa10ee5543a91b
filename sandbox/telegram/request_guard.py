"""Refuses requests that other sites' web pages send to the local Telegram through a developer's browser.

A page on another site sends `Origin` or `Sec-Fetch-Site`; a page whose name was rebound to this machine's
address (DNS rebinding) sends that name as `Host`. Programs send neither, and use an address, or a name that
no public DNS can hold, such as the service's name in docker compose.
"""

import ipaddress
import re
from contextlib import suppress
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.telegram.errors import ApiError, bad_request, forbidden

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?", re.ASCII)
_ORIGIN = re.compile(rf"null|[a-z][a-z0-9+.-]*://({_HOST.pattern})", re.ASCII)
# Names that exist on private networks only (RFC 6761, 6762, 8375; `.internal` is ICANN's) or by custom.
_PRIVATE_ZONES = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".localdomain", ".test")
# The page's own files are not among them: they hold no secret, and anyone may link to them.
_API_PATHS = ("/bot", "/file/", "/chat/", "/separation/", "/callback/")


class RequestGuard:
    """Answers 400 to a malformed `Host` or `Origin`, and 403 to the requests of other pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] == "http":
                _check(Headers(scope=scope), scope["path"])
        except ApiError as error:
            await JSONResponse(error.body(), error.status)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def host_name(headers: Headers) -> str:
    """Return the name or address of the `Host` header. Raises 400 when it is malformed."""
    found = _HOST.fullmatch(headers.get("host", ""))
    if found is None:
        raise bad_request("the header Host is malformed")
    return found.group(1).strip("[]").rstrip(".").lower()


def _check(headers: Headers, path: str) -> None:
    if not _is_private(host_name(headers)):
        raise forbidden("a public name does not lead to the local Telegram")
    for origin in headers.getlist("origin"):
        found = _ORIGIN.fullmatch(origin.lower())
        if found is None:
            raise bad_request("the header Origin is malformed")
        if found.group(1) != headers["host"].lower():
            raise forbidden("the page of another origin cannot use the local Telegram")
    is_foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    if is_foreign and path.startswith(_API_PATHS):
        raise forbidden("the page of another site cannot use the local Telegram")


@lru_cache(maxsize=64)
def _is_private(host: str) -> bool:
    """Return whether a host is an address, which cannot be rebound, or a name that is not in public DNS."""
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return "." not in host or host.endswith(_PRIVATE_ZONES)

"""The page in the browser: its files at `/` and `/page/…`, and the bundled songs at `/page/songs/…`.

The page shares modules with the mixer's page, which the webhook serves at the same path.

The files hold no secret, so they need no key. The page takes its key from the fragment of its address, which
browsers do not send.
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent
SONGS = _FOLDER.parent / "songs"
_MIXER = _FOLDER.parent.parent / "webhook" / "mixer" / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".mp3": "audio/mpeg",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self'; "
    "img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_INVITATION_S = 60


class PageLink:
    """The page's address with its key, and an address without the key that leads there once.

    `web_apps` is the origin whose Web Apps the page may open in a frame.
    """

    def __init__(self, access_key: str, web_apps: str = "") -> None:
        self._access_key = access_key
        self.web_apps = web_apps
        self._codes: dict[str, float] = {}

    def url(self, base: str) -> str:
        return f"{base}/#{self._access_key}"

    def single_use_url(self, base: str) -> str:
        """Return an address that works once within a minute: other users can see a program's arguments."""
        code = secrets.token_urlsafe(18)
        self._codes[code] = time.monotonic() + _INVITATION_S
        return f"{base}/open/{code}"

    async def open(self, request: Request) -> Response:
        if self._codes.pop(request.path_params["code"], 0) < time.monotonic():
            raise HTTPException(404)
        return RedirectResponse(f"/#{self._access_key}", 303, self.headers())

    def headers(self) -> dict[str, str]:
        frames = f"; frame-src {self.web_apps}" if self.web_apps else ""
        return {"Content-Security-Policy": _POLICY + frames, **_HEADERS}


def create_routes(link: PageLink) -> list[Route]:
    return [
        Route("/", _sender(link, _FOLDER, "index.html")),
        Route("/page/songs/{name}", _sender(link, SONGS)),
        Route("/page/{name}", _sender(link, _FOLDER)),
        Route("/mixer/static/{name}", _sender(link, _MIXER)),
        Route("/open/{code}", link.open),
    ]


def _sender(link: PageLink, folder: Path, fixed: str = "") -> Callable[[Request], Awaitable[Response]]:
    files = {path.name: path for path in folder.iterdir() if path.suffix in _TYPES}

    async def send(request: Request) -> Response:
        path = files.get(fixed or request.path_params["name"])
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, media_type=_TYPES[path.suffix], headers=link.headers())

    return send

"""`GET /mixer/` and `/mixer/static/…`: the page's own files, which hold no secret."""

import hashlib
import html
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stemdrop.chat.mixer_texts import mixer_texts
from stemdrop.chat.translations import Language, Translations

_FOLDER = Path(__file__).parent / "page"
_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def page_routes(translations: Translations) -> list[Route]:
    """Build the routes. The files are read now, and served from memory."""
    files = {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}
    index = files.pop(_INDEX).decode()
    pages = {f"{code}.html": _page(index, language) for code, language in translations.languages.items()}

    def page_name(request: Request) -> str:
        wanted = request.headers.get("accept-language", "").partition(",")[0].partition(";")[0]
        return f"{translations.language(wanted.strip()).code}.html"

    return [
        Route("/", _sender(pages, page_name)),
        Route("/static/{name}", _sender(files, lambda request: str(request.path_params["name"]))),
    ]


def _page(index: str, language: Language) -> bytes:
    """Return the page with texts in one language, which it shows until a song is open."""
    texts = html.escape(json.dumps(mixer_texts(language)))
    return index.replace("{language}", language.code.replace("_", "-")).replace("{texts}", texts).encode()


def _sender(
    files: dict[str, bytes], name_of: Callable[[Request], str]
) -> Callable[[Request], Awaitable[Response]]:
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:16]}"' for name, content in files.items()}

    async def send(request: Request) -> Response:
        name = name_of(request)
        if name not in files:
            raise HTTPException(404)
        headers = {"ETag": tags[name], "Cache-Control": "no-cache", "Vary": "Accept-Language"}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(files[name], media_type=_TYPES[Path(name).suffix], headers=headers)

    return send

"""The mixer's page with stems that a test computes, served as the webhook serves it."""

import html
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

import webhook
from sandbox.environment.server import serve
from stemdrop.chat.mixer_texts import mixer_texts
from stemdrop.chat.translations import load_translations

RATE = 44_100
PAGE = Path(webhook.__file__).parent / "mixer" / "page"
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
# For stories that need the page's modules but not what it shows.
_EMPTY = '<!doctype html><title>Mixer</title><link rel="icon" href="static/icon.svg">'
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def flac(samples: NDArray[np.int16]) -> bytes:
    """Encode one channel (16 bit, 44.1 kHz) as both channels of a FLAC file."""
    encoded = io.BytesIO()
    with av.open(encoded, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="stereo")
        stream.codec_context.format = "s16"
        frame = av.AudioFrame.from_ndarray(np.repeat(samples, 2)[None, :], format="s16", layout="stereo")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return encoded.getvalue()


@dataclass
class Stage:
    """A song of named stems; `refuse` may answer a request by its path below `/mixer/`.

    `below` is the path of the public address; `claimed_s` is the length that the server names if it is wrong.
    """

    stems: dict[str, NDArray[np.int16]]
    segment_s: float = 3
    facts: dict[str, Any] | None = None
    language: str = "en"
    title: str = "Morning Line"
    below: str = ""
    claimed_s: float | None = None
    refuse: Callable[[str], Response | None] = lambda path: None
    # how often `/measures` still answers that there are no measures yet; until then no stem has peaks
    busy_measuring: int = 0
    # the page's own files that the server refuses
    broken_files: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    mixes: list[dict[str, Any]] = field(default_factory=list)
    encoded: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def app(self) -> Starlette:
        routes = [
            Route("/", self._page),
            Route("/static/{name}", self._static),
            Route("/open", self._open, methods=["POST"]),
            Route("/mixes", self._mix, methods=["POST"]),
            Route("/measures/{token}", self._measures),
            Route("/segments/{token}/{stem:int}/{name}", self._segment),
        ]
        return Starlette(routes=[Mount(f"{self.below}/mixer", routes=routes)])

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Yield the page's address."""
        async with serve(self.app()) as base:
            yield f"{base}{self.below}/mixer/?job=1#tgWebAppData=signed"

    async def _page(self, request: Request) -> Response:
        if "empty" in request.query_params:
            return Response(_EMPTY, media_type="text/html", headers={"Content-Security-Policy": _CSP})
        texts = json.dumps(mixer_texts(load_translations().language(self.language)))
        page = (PAGE / "index.html").read_text("utf-8")
        page = page.replace("{language}", self.language).replace("{texts}", html.escape(texts))
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": _CSP})

    async def _static(self, request: Request) -> Response:
        path = PAGE / request.path_params["name"]
        if path.name in self.broken_files:
            return Response(status_code=503)
        return FileResponse(path, media_type=_TYPES[path.suffix])

    def _refused(self, request: Request) -> Response | None:
        path = request.url.path.partition("/mixer/")[2]
        self.asked.append(path)
        return self.refuse(path)

    async def _open(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        translate = load_translations().language(self.language)
        lengths = [self.claimed_s or len(samples) / RATE for samples in self.stems.values()]
        stems = [
            {"key": name.lower(), "name": name, "duration_s": length, "peaks": peaks}
            for name, length, peaks in zip(self.stems, lengths, self._all_peaks(), strict=True)
        ]
        song = {
            "token": "t",
            "expires_in_s": 3600,
            "language": self.language,
            "texts": mixer_texts(translate),
        }
        song |= {"title": self.title, "about": "104 BPM · G major", "facts": self.facts, "can_send": True}
        song |= {"duration_s": max(lengths), "segment_s": self.segment_s, "stems": stems}
        return JSONResponse(song)

    def _all_peaks(self) -> list[list[int] | None]:
        return [None if self.busy_measuring else _peaks(samples) for samples in self.stems.values()]

    async def _measures(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        if self.busy_measuring:
            self.busy_measuring -= 1
            return JSONResponse({}, 202)
        return JSONResponse({"facts": self.facts, "peaks": self._all_peaks()})

    async def _segment(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        samples = list(self.stems.values())[request.path_params["stem"]]
        size, number = int(self.segment_s * RATE), int(request.path_params["name"].removesuffix(".flac"))
        part = samples[number * size : (number + 1) * size]
        if not len(part):  # the webhook has 10 ms of silence there
            part = np.zeros(RATE // 100, np.int16)
        cached = {"Cache-Control": "private, max-age=3600, immutable"}
        key = (id(samples), number)
        if key not in self.encoded:
            self.encoded[key] = flac(part)
        return Response(self.encoded[key], media_type="audio/flac", headers=cached)

    async def _mix(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        self.mixes.append(await request.json())
        return JSONResponse({}, 202)


def _peaks(samples: NDArray[np.int16]) -> list[int]:
    parts = np.array_split(np.abs(samples.astype(int)), 1000)
    return [max(0, 63 + int(20 * np.log10(max(1, part.max(initial=0)) / 32768))) for part in parts]

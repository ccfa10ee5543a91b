"""The mixer over HTTP: its page, who may open which song, segments of stems, and orders of mixes.

Refusals are `{"error": <code>}`. Only data that Telegram has signed opens a song (`init_data`); the token in
the answer is valid for this song alone, for an hour.
"""

import logging
import math
import re
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from telegram.error import TelegramError

from stemdrop.domain.jobs import Job, JobState
from stemdrop.errors import (
    BadContract,
    ForgedRequest,
    SourceGone,
    SourceTooBig,
    SourceUnavailable,
    StemdropError,
    StoreUnavailable,
    TooOften,
    TryLater,
)
from stemdrop.http.signed_links import MIXER_LIFETIME_S, MixerToken
from stemdrop.log_context import bind_job
from stemdrop.observability.metric_definitions import MIXER_SEGMENTS, MIXER_WAIT
from stemdrop.storage.stem_cache import CachedStems
from stemdrop.tasks.owner_limits import OwnerLimits
from stemdrop.wiring import Parts
from webhook.errors import RETRY_AFTER_S, BodyIncomplete, BodyTooLarge, BodyTooSlow
from webhook.json_body import BODY_TIMEOUT_S, read_json
from webhook.mixer.access import MixerAccess
from webhook.mixer.init_data import read_init_data
from webhook.mixer.page_files import page_routes
from webhook.mixer.sample_grid import SEGMENT_S
from webhook.mixer.security_headers import SecurityHeaders
from webhook.mixer.segment_maker import NotPlayable
from webhook.mixer.segment_response import SegmentResponse
from webhook.mixer.segments import NoRoom, Segments
from webhook.mixer.songs import (
    PlayableStem,
    check_recipe,
    describe,
    describe_measures,
    playable_stems,
    version_of,
)

log = logging.getLogger(__name__)

MAX_MIXER_BODY_BYTES = 16 * 1024
# The most requests of one user a minute, over all webhooks. A song with the most stems (64), played at the
# highest speed, takes 1600 segments a minute.
OPENED_PER_MINUTE, SEGMENTS_PER_MINUTE, MIXES_PER_MINUTE = 30, 2000, 20
MEASURES_PER_MINUTE = 60
# The most requests of one user at once in this process: each may wait until its segment is made.
SEGMENTS_AT_ONCE = 32
# The same of all users: the rest of the requests that a webhook handles at once is left for callbacks.
SEGMENTS_IN_PROGRESS = 200
_JOB_ID, _WISH = r"[0-9a-f]{16}", r"[\w-]{1,64}"


class TooManyMixes(StemdropError):
    """The user has too many mixes that are not sent yet."""


# Status and code of each exception; subclasses come before their base.
_ANSWERS: dict[type[Exception], tuple[int, str]] = {
    BodyIncomplete: (400, "incomplete"),
    ForgedRequest: (403, "forbidden"),
    NotPlayable: (404, "not_audio"),
    NoRoom: (404, "no_room"),
    SourceTooBig: (404, "too_big"),
    SourceGone: (404, "gone"),
    BodyTooSlow: (408, "too_slow"),
    BodyTooLarge: (413, "too_large"),
    BadContract: (422, "malformed"),
    TooOften: (429, "slow_down"),
    TooManyMixes: (429, "too_many"),
    TryLater: (503, "busy"),
    SourceUnavailable: (503, "unavailable"),
    StoreUnavailable: (503, "unavailable"),
    TelegramError: (503, "unavailable"),
}
# Refusals that are usual, so that they are no warnings in the log.
_QUIET = (TooOften, TryLater)


def open_segments(parts: Parts) -> Segments:
    """Build the segments of a webhook, an async context manager that the caller enters."""
    return Segments(parts.files, parts.counters, parts.settings.max_source_bytes, parts.clock)


def mixer_app(parts: Parts, segments: Segments, body_timeout_s: float = BODY_TIMEOUT_S) -> ASGIApp:
    """Build the application that is mounted at `/mixer`; the caller opens and closes `segments`."""
    mixer = _Mixer(parts, segments, body_timeout_s)
    routes = [
        *page_routes(parts.translations),
        Route("/open", mixer.open, methods=["POST"]),
        Route("/segments/{token}/{stem}/{segment}.flac", mixer.segment),
        Route("/measures/{token}", mixer.measures),
        Route("/mixes", mixer.order, methods=["POST"]),
    ]
    handlers: dict[Any, Any] = {HTTPException: _answer_http, **dict.fromkeys(_ANSWERS, _answer)}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # behind a proxy a redirect would lead to http://
    return SecurityHeaders(app, parts.settings.sandbox_origin)


class _Mixer:
    def __init__(self, parts: Parts, segments: Segments, body_timeout_s: float) -> None:
        self._parts = parts
        self._segments = segments
        self._body_timeout_s = body_timeout_s
        self._access = MixerAccess(parts.store, parts.users, parts.bot, parts.clock)
        self._at_once = OwnerLimits[int](SEGMENTS_AT_ONCE, _too_many_at_once)
        self._in_progress = OwnerLimits[str](SEGMENTS_IN_PROGRESS, _too_many_in_progress)

    async def open(self, request: Request) -> Response:
        """Answer with what the page needs to play a song, and with a token for its segments."""
        parts = self._parts
        body = await self._body(request)
        init_data, job_id = _text(body, "init_data"), _text(body, "job", _JOB_ID)
        bot_token = parts.settings.telegram_bot_token.get_secret_value()
        visitor = read_init_data(init_data, bot_token, parts.clock())
        await parts.rate_limits.take("mixer", visitor.id, OPENED_PER_MINUTE)
        bind_job(job_id)
        job, person = await self._access.job(job_id, visitor.id)
        stems = await self._stems(job)
        cached = await self._cached(job)
        translate = parts.translations.language(person.language or visitor.language_code or job.language)
        token = parts.links.mixer_token(MixerToken(job.id, visitor.id, version_of(stems)))
        return JSONResponse(
            {
                "token": token,
                "expires_in_s": MIXER_LIFETIME_S,
                "segment_s": SEGMENT_S,
                "can_send": job.state is JobState.DELIVERED,
                **describe(job, stems, cached, translate),
            }
        )

    async def segment(self, request: Request) -> Response:
        """Send a segment of a stem as soon as it is made."""
        path, parts = request.path_params, self._parts
        token = parts.links.read_mixer(path["token"])
        bind_job(token.job_id)
        await parts.rate_limits.take("segments", token.user_id, SEGMENTS_PER_MINUTE)
        stems = await self._stems(await self._job(token), token.version)
        number, stem = _number(path["segment"]), _number(path["stem"])
        if stem >= len(stems):
            raise HTTPException(404)
        all_users, of_user = self._in_progress.of(""), self._at_once.of(token.user_id)
        with of_user, all_users, parts.counters.timed(MIXER_WAIT):
            file = await self._segments.get(stems[stem].sent, number, token.user_id)
        try:
            answer = SegmentResponse(file)
        except FileNotFoundError as error:
            await self._segments.forget(stems[stem].sent, file)
            raise TryLater(1, "the segment has been removed") from error
        parts.counters.add(MIXER_SEGMENTS, "served")
        return answer

    async def measures(self, request: Request) -> Response:
        """Answer with what was measured of a song; with 202 while a worker measures it."""
        parts = self._parts
        token = parts.links.read_mixer(request.path_params["token"])
        bind_job(token.job_id)
        await parts.rate_limits.take("measures", token.user_id, MEASURES_PER_MINUTE)
        job, person = await self._access.job(token.job_id, token.user_id)
        stems = await self._stems(job, token.version)
        measures = await parts.song_measures.get(job)
        if measures is None:
            return JSONResponse({}, 202)
        translate = parts.translations.language(person.language or job.language)
        return JSONResponse(describe_measures(stems, measures, translate))

    async def order(self, request: Request) -> Response:
        """Order a mix, which is sent to the chat. Idempotent for the same `id`."""
        parts = self._parts
        body = await self._body(request)
        token = parts.links.read_mixer(_text(body, "token"))
        wish = _text(body, "id", _WISH)
        bind_job(token.job_id)
        await parts.rate_limits.take("mixes", token.user_id, MIXES_PER_MINUTE)
        job, person = await self._access.job(token.job_id, token.user_id)
        # the worker places the clicks by these facts, too
        recipe = check_recipe(body.get("recipe"), await self._stems(job, token.version), job.facts)
        language = parts.translations.language(person.language or job.language).code
        remix = await parts.remixing.order(
            job, token.user_id, [recipe], by=f"mixer:{wish}", language=language
        )
        if remix is None:
            raise TooManyMixes("a user has too many mixes that are not sent yet")
        return JSONResponse({}, 202)

    async def _cached(self, job: Job) -> CachedStems | None:
        if job.mode is None:
            return None
        return await self._parts.stem_cache.find(job.source, (job.mode, job.instrument), job.file_format)

    async def _job(self, token: MixerToken) -> Job:
        job = await self._parts.store.get(token.job_id)
        if job is None:
            raise SourceGone("the job of the mixer is gone")
        return job

    async def _stems(self, job: Job, version: str = "") -> list[PlayableStem]:
        """Return the job's stems. Raises `SourceGone` if there are none, or they are not of `version`."""
        stems = playable_stems(job, await self._parts.store.sent(job.id))
        if not stems or version not in ("", version_of(stems)):
            raise SourceGone("the stems of the mixer are gone, or others have been sent since")
        return stems

    async def _body(self, request: Request) -> dict[str, object]:
        body = await read_json(request, self._body_timeout_s, max_bytes=MAX_MIXER_BODY_BYTES)
        if not isinstance(body, dict):
            raise BadContract("the body is no object")
        return body


def _text(body: dict[str, object], name: str, pattern: str = r".*") -> str:
    value = body.get(name)
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII | re.DOTALL):
        raise BadContract(f"the body has no valid {name}")
    return value


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII):
        raise HTTPException(404)
    return int(text)


def _too_many_at_once() -> TooOften:
    return TooOften(1, "a user asks for too many segments at once")


def _too_many_in_progress() -> TryLater:
    return TryLater(1, "too many segments are asked for at once")


async def _answer(request: Request, error: Exception) -> JSONResponse:
    status, code = next(_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS)
    # our own error texts hold no secret; a library's may
    detail = str(error) if isinstance(error, StemdropError) else "Telegram does not answer"
    name = getattr(request.scope.get("endpoint"), "__name__", "?")
    level = logging.DEBUG if isinstance(error, _QUIET) else logging.WARNING
    log.log(level, "the mixer's request %s was refused: %d, %s", name, status, detail)
    headers = {}
    if isinstance(error, TooOften | TryLater):
        headers["Retry-After"] = str(math.ceil(error.after_s))
    elif status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return JSONResponse({"error": code}, status, headers)


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"error": "not_found" if status == 404 else "not_allowed"}, status)

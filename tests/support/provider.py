"""A separation API for tests: it refuses what the contract refuses, and answers what the test tells it to.

Written from the provider's contract; shares no code with stemdrop or the separator.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from waits import WAIT_S

from sandbox.environment.server import serve

Handler = Callable[[Request], Awaitable[Response]]

KEY = "provider-key-for-tests"
TYPES = ("separate_vocal", "split_stem", "split_stem_advanced")
# The prices on the provider's page, in credits.
CREDITS = {"separate_vocal": 10, "split_stem": 50, "split_stem_advanced": 20}
# The code of a task that has failed and whose credits were given back.
REFUNDED = 531

# 'After 3 failed attempts the provider stops' (its callback page names no pause between them).
CALLBACK_PAUSES_S = (0.0, 0.5, 0.5)

SPLIT_FIELDS = (
    *("vocal", "backing_vocals", "drums", "bass", "guitar", "keyboard"),
    *("percussion", "strings", "synth", "fx", "brass", "woodwinds"),
)


class Provider:
    """The provider's state, and the test's orders. `stem` is the audio served for every stem.

    Orders: `refusal` (code, message) instead of accepting; `lose_answer` accepts and never answers
    properly; `early_callback` posts the result before the create call is answered; without
    `answers_by_itself` only the test posts results; `failure` is the code called back instead of 200;
    `few_stems` makes two stems instead of all, which are sent sooner; `hold_answer` keeps an accepted create
    call waiting for its answer until it is set; `hold_stems` keeps stem downloads waiting until it is set,
    all of them or only those named in `held_stems`; `broken_stems` maps a stem's name to the HTTP status to
    answer; `upload_refusal` is `refusal` for uploads; `credits` is what is left (any JSON),
    `credits_refusal` is `refusal` for the credits endpoint; `abilities` is the answer of our own separator,
    None for a paid host; `key` is the valid API key; with `remembers` the detail endpoint knows the result
    of each accepted call, with this `flag`, otherwise only `details`; `calls_back_when_asked` posts a result
    while it is polled; `loses_creates` neither accepts nor refuses; `odd_create` is what happens instead of
    accepting; `odd_stems` answers for the stem of that name. `refunded` are the tasks that were reported as
    refunded.
    """

    def __init__(self, stem: bytes) -> None:
        self.url = ""
        self.stem = stem
        self.creates: list[dict[str, Any]] = []
        self.refunded: set[str] = set()
        self.sources: list[bytes] = []
        self.uploads: dict[str, bytes] = {}
        self.requests: list[str] = []  # every request's method, URL and headers, for secrets to be looked for
        self.stem_requests: list[str] = []
        self.stems_served: list[str] = []
        self.callback_answers: list[httpx.Response] = []
        self.details: dict[str, dict[str, Any]] = {}
        self.refusal: tuple[int, str] | None = None
        self.upload_refusal: tuple[int, str] | None = None
        self.credits: object = 1000
        self.credits_refusal: tuple[int, str] | None = None
        self.abilities: dict[str, Any] | None = None
        self.key = KEY
        self.lose_answer = False
        self.early_callback = False
        self.answers_by_itself = True
        self.fetches_source = True
        self.failure: int | None = None
        self.few_stems = False
        self.hold_answer = _open()
        self.hold_stems = _open()
        self.held_stems: frozenset[str] = frozenset()
        self.broken_stems: dict[str, int] = {}
        self.remembers = False
        self.loses_creates = False
        self.odd_create: Callable[[], Awaitable[Response]] | None = None
        self.flag = "SUCCESS"
        self.calls_back_when_asked = False
        self.odd_stems: dict[str, Callable[[], Response]] = {}
        self.info: Callable[[dict[str, Any]], dict[str, Any]] = self._info
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator["Provider"]:
        """Serve the API on a free loopback port."""
        # no connection is kept, since a callback is lost if the webhook closes its connection at that moment
        limits = httpx.Limits(max_keepalive_connections=0)
        async with serve(self._app()) as url, httpx.AsyncClient(timeout=WAIT_S, limits=limits) as http:
            self.url, self._http = url, http
            yield self
            self.hold_answer.set()
            self.hold_stems.set()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def clear(self) -> None:
        """Forget what happened and withdraw all orders, for the next story with the same provider. What is
        still held goes on; task ids are never given twice."""
        self.hold_answer.set()
        self.hold_stems.set()
        fresh = Provider(self.stem)
        cached = ("url", "details", "uploads", "requests", "_tasks", "_accepted", "_http", "info")
        vars(self).update({key: value for key, value in vars(fresh).items() if key not in cached})
        self.info = self._info

    def task_id(self, number: int = -1) -> str:
        """Return the id of the n-th accepted create call."""
        return str(self.creates[number]["taskId"])

    def body(self, create: dict[str, Any]) -> dict[str, Any]:
        """Return the callback for an accepted create call, by the orders in force."""
        if self.failure is not None:
            self._note_refund(create)
            return _failed(create, self.failure)
        return {
            "code": 200,
            "msg": "vocal Removal generated successfully.",
            "data": {"task_id": create["taskId"], "vocal_removal_info": self.info(create)},
        }

    async def call_back(self, number: int = -1, body: dict[str, Any] | None = None) -> httpx.Response:
        """Post the result of the n-th create call, once; returns the answer."""
        return await self._post(self.creates[number], body)

    def detail(self, task_id: str) -> dict[str, Any]:
        """Return the answer of the detail endpoint for a task."""
        pending = {"taskId": task_id, "successFlag": "PENDING", "response": None}
        create = next((known for known in self.creates if known["taskId"] == task_id), None)
        if task_id in self.details or create is None or not self.remembers:
            return self.details.get(task_id, pending)
        if self.failure is not None:
            self._note_refund(create)
            return {**pending, "successFlag": "GENERATE_AUDIO_FAILED", "errorCode": self.failure}
        response = {_camel_case(name): value for name, value in self.info(create).items()}
        return {**pending, "successFlag": self.flag, "response": response}

    @property
    def charged(self) -> list[dict[str, Any]]:
        """Return the accepted create calls, without those whose credits it has given back."""
        return [create for create in self.creates if create["taskId"] not in self.refunded]

    def price(self, create: dict[str, Any]) -> int:
        """Return what a create call costs, in credits."""
        mode = create["type"]
        return int(self.abilities["modes"][mode]["credits"] if self.abilities else CREDITS[mode])

    def _note_refund(self, create: dict[str, Any]) -> None:
        if self.failure == REFUNDED:
            self.refunded.add(create["taskId"])

    async def post_patiently(self, create: dict[str, Any], body: dict[str, Any] | None = None) -> None:
        """Post the result of a create call until it is received, as often as the provider does."""
        for pause_s in CALLBACK_PAUSES_S:
            await asyncio.sleep(pause_s)
            with suppress(httpx.HTTPError):
                if (await self._post(create, body)).status_code == 200:
                    return

    async def _post(self, create: dict[str, Any], body: dict[str, Any] | None = None) -> httpx.Response:
        response = await self._http.post(create["callBackUrl"], json=body or self.body(create))
        self.callback_answers.append(response)
        return response

    def stem_url(self, name: str) -> str:
        return f"{self.url}/stems/{name}.mp3"

    def _info(self, create: dict[str, Any]) -> dict[str, Any]:
        if create["type"] == "separate_vocal":
            names: tuple[str, ...] = ("vocal", "instrumental")
        elif create["type"] == "split_stem":
            names = SPLIT_FIELDS[:2] if self.few_stems else SPLIT_FIELDS
        else:
            entry = {"id": "1", "duration": 1.0, "stem_type_group_name": create["stemName"]}
            return {
                "origin_data": [
                    {
                        "extract": {**entry, "audio_url": self.stem_url("extract")},
                        "remove": {**entry, "audio_url": self.stem_url("remove")},
                    }
                ]
            }
        return {"origin_url": "", **{f"{name}_url": self.stem_url(name) for name in names}}

    def _app(self) -> Starlette:
        routes: list[Route] = []

        def handles(method: str, path: str) -> Callable[[Handler], None]:
            def add(handler: Handler) -> None:
                async def run(request: Request) -> Response:
                    is_file = request.headers.get("content-type", "").startswith("multipart/")
                    body = "" if is_file else (await request.body()).decode(errors="replace")
                    self.requests.append(f"{request.method} {request.url} {dict(request.headers)} {body}")
                    return await handler(request)

                routes.append(Route(path, run))
                routes[-1].methods = {method}  # no HEAD beside GET

            return add

        @handles("POST", "/api/v1/vocal-removal/generate")
        async def generate(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {self.key}":
                return _answer(401, "no key")
            body = await request.json()
            problem = _problem(body, self.abilities is not None)
            if problem:
                return _answer(422, problem)
            if self.refusal:
                return _answer(*self.refusal)
            if self.loses_creates:
                return Response("<html>bad gateway</html>", 502)
            if self.odd_create:
                return await self.odd_create()
            self._accepted += 1
            create = {**body, "taskId": f"task-{self._accepted:04d}"}
            self.creates.append(create)
            if self.fetches_source and not await self._fetch_source(create):
                self._spawn(create, _failed(create, 451))
            elif self.early_callback:
                await self._post(create)
            elif self.answers_by_itself:
                self._spawn(create)
            await self.hold_answer.wait()
            if self.lose_answer:
                return Response("<html>bad gateway</html>", 502)
            return _answer(200, "success", {"taskId": create["taskId"]})

        @handles("GET", "/api/v1/vocal-removal/record-info")
        async def detail(request: Request) -> Response:
            task = request.query_params["taskId"]
            if request.headers.get("authorization") != f"Bearer {self.key}":
                return _answer(401, "no key")
            if self.calls_back_when_asked:
                self._spawn(next(known for known in self.creates if known["taskId"] == task))
            return _answer(200, "success", self.detail(task))

        @handles("GET", "/api/v1/generate/credit")
        async def credit(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {self.key}":
                return _answer(401, f"no such key: {request.headers.get('authorization')}")
            if self.credits_refusal:
                return _answer(*self.credits_refusal)
            return _answer(200, "success", self.credits)

        @handles("GET", "/api/v1/vocal-removal/abilities")
        async def abilities(request: Request) -> Response:
            return _answer(200, "success", self.abilities) if self.abilities else _answer(404, "Not Found")

        @handles("POST", "/api/file-stream-upload")
        async def upload(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {self.key}":
                return _answer(401, "no key")
            if self.upload_refusal:
                return _answer(*self.upload_refusal)
            async with request.form() as form:
                file, name = form["file"], str(form["fileName"])
                self.uploads[name] = await file.read()  # type: ignore[union-attr]
            return _answer(200, "success", {"downloadUrl": f"{self.url}/uploads/{name}"})

        @handles("GET", "/uploads/{name}")
        async def uploaded(request: Request) -> Response:
            return Response(self.uploads[request.path_params["name"]])

        @handles("GET", "/stems/{name}.mp3")
        async def stem(request: Request) -> Response:
            name = request.path_params["name"]
            self.stem_requests.append(name)
            if not self.held_stems or name in self.held_stems:
                await self.hold_stems.wait()
            self.stems_served.append(name)
            if name in self.odd_stems:
                return self.odd_stems[name]()
            status = self.broken_stems.get(name, 200)
            return Response(self.stem if status == 200 else b"", status, media_type="audio/mpeg")

        for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):

            @handles(method, "/{path:path}")
            async def unknown(request: Request) -> Response:
                return JSONResponse({"detail": "Not Found"}, 404)

        return Starlette(routes=routes)

    async def _fetch_source(self, create: dict[str, Any]) -> bool:
        for pause_s in CALLBACK_PAUSES_S:
            await asyncio.sleep(pause_s)
            with suppress(httpx.HTTPError):
                source = await self._http.get(create["audioUrl"])
                self.sources.append(source.raise_for_status().content)
                return True
        return False

    def _spawn(self, create: dict[str, Any], body: dict[str, Any] | None = None) -> None:
        async def later() -> None:
            await self.post_patiently(create, body)

        task = asyncio.create_task(later())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _open() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


def _failed(create: dict[str, Any], code: int) -> dict[str, Any]:
    data = {"task_id": create["taskId"], "vocal_removal_info": None}
    return {"code": code, "msg": "it failed", "data": data}


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _problem(body: dict[str, Any], is_separator: bool) -> str:
    if body.get("type") not in TYPES:
        return "type"
    added = {"format", "maxFileBytes"} if is_separator else set()
    if set(body) - {"audioUrl", "type", "stemName", "callBackUrl", *added}:
        return "unknown field"
    if ("stemName" in body) != (body["type"] == "split_stem_advanced"):
        return "stemName"
    for name in ("audioUrl", "callBackUrl"):
        if not str(body.get(name, "")).startswith(("http://", "https://")):
            return name
    return ""


def _answer(code: int, message: str, data: object = None) -> Response:
    """Return an answer in ASCII, since a message may hold half a surrogate pair."""
    body = json.dumps({"code": code, "msg": message, "data": data})
    return Response(body, media_type="application/json")

"""A server that speaks the contract of StemSplit, LALAL.AI or fal, and refuses what that provider refuses.

    async with ContractServer("stemsplit", tone).run() as server:
        settings = {"STEMSPLIT_API_URL": server.url, "STEMSPLIT_API_KEY": server.key}

The contracts are a table (`CONTRACTS`), written from the providers' public documentation: each row says where
its facts come from and what is unconfirmed. Nothing is shared with stemdrop or the separator.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import av
import httpx
from contracts import fal, lalal, stemsplit
from contracts.faults import FAILURES, OF_STEMS, Faults
from contracts.model import (
    CANCELLED,
    CHARGED,
    DONE,
    FAILED,
    NO_SOURCE,
    QUEUED,
    REFUNDED,
    RUNNING,
    Call,
    Contract,
    Job,
    Refusal,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from waits import WAIT_S

from sandbox.environment.server import serve

CONTRACTS: dict[str, Contract] = {
    "stemsplit": stemsplit.CONTRACT,
    "lalal": lalal.CONTRACT,
    "fal": fal.CONTRACT,
}

# How often a callback and a source are tried; the providers take longer between two tries.
PAUSES_S = (0.0, 0.5, 0.5)


class ContractServer:
    """One provider's API.

    `creates` are the accepted jobs: their bodies with `task_id`. `charged` are the tasks that cost something;
    one that fails without a charge is removed. `credits` is what is left, in the provider's unit. `sources`
    are the songs that it has fetched or was given. With `answers_by_itself` a job ends at once; otherwise its
    first poll finds it in the queue and the later ones progress, until `finish`. `calls` are the names of all
    calls. With `honours_keys` an idempotency key in a header counts. A test may change `jobs`.
    """

    def __init__(self, name: str, stem: bytes = b"") -> None:
        self.name = name
        self.contract = CONTRACTS[name]
        self.root = self.url = ""
        self.key, self.secret = self.contract.key, f"whsec_contract_{name}"
        self.stem = stem
        self.jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.clear()

    def clear(self) -> None:
        """Forget what happened and all faults, for the next story. Jobs and uploads stay known."""
        self.creates: list[dict[str, Any]] = []
        self.charged: list[str] = []
        self.credits: float = 100_000
        self.sources: list[bytes] = []
        self.calls: list[str] = []
        self.requests: list[str] = []  # method, URL and headers, for secrets to be looked for
        self.callback_answers: list[httpx.Response] = []
        self.stems_served: list[str] = []
        self.answers_by_itself = True
        self.honours_keys = True
        self._faults = Faults()
        if not self.jobs:
            self.uploads: dict[str, bytes] = {}
            self.expected_uploads: dict[str, str] = {}

    @asynccontextmanager
    async def run(self) -> AsyncIterator["ContractServer"]:
        """Serve the API on a free loopback port."""
        limits = httpx.Limits(max_keepalive_connections=0)
        async with serve(self._app()) as root, httpx.AsyncClient(timeout=WAIT_S, limits=limits) as self._http:
            self.root, self.url = root, root + self.contract.base
            yield self
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def fault(self, call: str, kind: str, times: int = 1) -> None:
        """Let the next calls go wrong.

        call: create, status, upload, balance, callback, stem. At a create call, `early_callback`,
        `never_ends` and the failures concern the job that it starts; at a status call, the job it asks for
        first. A `lost` create call is accepted, a `lost` callback never sent, and a `wrongly_signed` one is
        tried again. An `expired_link` expires all links of that job, until a status call renews them.
        """
        self._faults.add(self.contract, call, kind, times)

    async def finish(self, task_id: str = "") -> httpx.Response | None:
        """End a job, by default the last accepted one, and post its callback; returns the answer to it."""
        job = self.jobs[task_id or self.creates[-1]["task_id"]]
        await self._begin(job)
        self._end(job)
        return await self._call_back(job)

    def task_id(self, number: int = -1) -> str:
        """Return the id of the n-th accepted job."""
        return str(self.creates[number]["task_id"])

    # For the contracts.

    def job_with_key(self, key: str) -> Job | None:
        """Return the job that was ordered with this idempotency key."""
        return next((job for job in self.jobs.values() if job.key == key), None)

    async def accept(self, job: Job) -> None:
        """Take a job that the contract allows and start it."""
        self.jobs[job.id] = job
        self.creates.append({**job.order, "task_id": job.id})
        kind = self._faults.take("create", *FAILURES, "early_callback")
        if kind in {CHARGED, REFUNDED}:
            job.failure = kind
        job.never_ends = kind == "never_ends"
        if kind == "early_callback":
            await self._run(job, at_once=True)
        else:
            self._spawn(job)

    def polled(self, task_id: str) -> Job | None:
        """Return a job that is asked for, with fresh links; `None` if there is none of that id."""
        if (job := self.jobs.get(task_id)) is None:
            return None
        kind = self._faults.take("status", *FAILURES)
        if kind in {CHARGED, REFUNDED}:
            self._fail(job, kind)
        job.never_ends |= kind == "never_ends"
        job.polls += 1
        if job.polls > 1 and job.state == QUEUED and job.seconds:
            self._start(job)
        job.links += job.expired_links == job.links
        return job

    def cancel(self, job: Job) -> None:
        """Stop a job; what was paid stays paid."""
        job.state = CANCELLED

    def stem_url(self, job: Job, label: str) -> str:
        return f"{self.root}/stems/{job.id}/{job.links}/{label}.mp3"

    def length_of(self, content: bytes) -> float:
        """Return the length of a song in seconds, 0 if the content is not a song."""
        with suppress(av.FFmpegError), av.open(io.BytesIO(content), "r") as song:
            return float(song.duration or 0) / av.time_base
        return 0

    # The life of a job.

    def _spawn(self, job: Job) -> None:
        task = asyncio.create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job, *, at_once: bool = False) -> None:
        await self._read_source(job)
        if at_once or job.state == FAILED or (self.answers_by_itself and not job.never_ends):
            await self._begin(job)
            self._end(job)
            await self._call_back(job)

    async def _read_source(self, job: Job) -> None:
        if job.failure not in {"", CHARGED, REFUNDED}:
            self._fail(job, job.failure)
            return
        for pause_s in PAUSES_S if job.source_url else ():
            await asyncio.sleep(pause_s)
            with suppress(httpx.HTTPError):
                answer = await self._http.get(job.source_url, follow_redirects=True)
                job.source = answer.raise_for_status().content
                break
        job.seconds = self.length_of(job.source)
        if not job.seconds:
            self._fail(job, NO_SOURCE)
        else:
            self.sources.append(job.source)

    async def _begin(self, job: Job) -> None:
        if not job.seconds and job.state == QUEUED:
            await self._read_source(job)
        self._start(job)

    def _start(self, job: Job) -> None:
        if job.state == QUEUED:
            job.state = RUNNING
            self.charged.append(job.id)
            self.credits -= self.contract.cost(job)

    def _end(self, job: Job) -> None:
        if job.failure and job.state == RUNNING:
            self._fail(job, job.failure)
        elif job.state == RUNNING:
            job.state = DONE

    def _fail(self, job: Job, failure: str) -> None:
        job.state, job.failure = FAILED, failure
        if failure == CHARGED and job.id not in self.charged:
            self.charged.append(job.id)
        elif failure != CHARGED and job.id in self.charged:
            self.charged.remove(job.id)
            self.credits += self.contract.cost(job)

    async def _call_back(self, job: Job) -> httpx.Response | None:
        contract = self.contract
        if not job.callback_url or contract.callback is None or self._faults.take("callback", "lost"):
            return None
        body = json.dumps(contract.callback(self, job)).encode()
        answer = None
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            kind = self._faults.take("callback", "twice", "wrongly_signed")
            headers = contract.sign(self, job, body, kind == "wrongly_signed")
            for _ in range(1 + (kind == "twice")):
                answer = await self._post(job.callback_url, body, headers)
            if answer is not None and answer.is_success:
                break
        return answer

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> httpx.Response | None:
        with suppress(httpx.HTTPError):
            kind = {"Content-Type": "application/json"}
            answer = await self._http.post(url, content=body, headers={**headers, **kind})
            self.callback_answers.append(answer)
            return answer
        return None

    # The calls.

    def _app(self) -> Starlette:
        routes = [Route(call.path, self._handler(call)) for call in self.contract.calls]
        for route, call in zip(routes, self.contract.calls, strict=True):
            route.methods = {call.method}  # no HEAD beside GET
        routes.append(Route("/stems/{task}/{links:int}/{label}.mp3", self._stem))
        return Starlette(routes=routes)

    def _handler(self, call: Call) -> Any:
        async def handle(request: Request) -> Response:
            self.calls.append(call.name)
            self.requests.append(f"{request.method} {request.url} {dict(request.headers)}")
            if refused := self._refused(call, request):
                return refused
            is_lost = bool(self._faults.take(call.name, "lost"))
            try:
                response = (await call.answer(self, request)).response()
            except Refusal as refusal:
                response = refusal.reply.response()
            return Response("<html>bad gateway</html>", 502) if is_lost else response

        return handle

    def _refused(self, call: Call, request: Request) -> Response | None:
        refusals = self.contract.refusals
        if call.needs_key:
            given = request.headers.get(self.contract.header, "")
            if not given:
                return refusals["no_key"].response()
            if given != self.contract.scheme + self.key:
                return refusals["wrong_key"].response()
        if kind := self._faults.take(call.name, *refusals):
            return refusals.get(f"{call.name}.{kind}", refusals[kind]).response()
        if call.name == "create" and self.credits <= 0:
            return refusals["no_credits"].response()
        return None

    async def _stem(self, request: Request) -> Response:
        job = self.jobs.get(request.path_params["task"])
        label, links = request.path_params["label"], request.path_params["links"]
        if job is None or job.state != DONE or label not in job.labels or links > job.links:
            return JSONResponse({"detail": "Not Found"}, 404)
        if kind := self._faults.take("stem", *OF_STEMS):
            if kind != "expired_link":
                return Response(b"", {"busy": 429, "lost": 502}.get(kind, 500))
            job.expired_links = job.links
        if links <= job.expired_links:
            return Response(b"Request has expired", self.contract.expired_status)
        self.stems_served.append(label)
        return Response(self.stem, media_type="audio/mpeg")

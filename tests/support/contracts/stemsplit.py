"""The contract of StemSplit's API.

The sources are its OpenAPI document (stemsplit.io/api/v1/openapi), its developers' pages and its own Python
client (StemSplit/stemsplit-python 0.1.0, 2026-05).

Unconfirmed: `callbackUrl` and `Idempotency-Key`, which are not in the OpenAPI document. The client sends
both, and its changelog says that the server does not honour the key yet (`server.honours_keys = False`). Also
unconfirmed: that callbacks of a `callbackUrl` are signed with the secret of a registered webhook, that the
presigned URL signs the content type, whether a source that cannot be fetched is charged, the codes of a 400
for a wrong field and of a reused key, and what a failed job's `creditsCharged` is.
"""

import hashlib
import hmac
import math
import mimetypes
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.requests import Request

from contracts import storage
from contracts.model import (
    CHARGED,
    DONE,
    EXPIRED,
    FAILED,
    QUEUED,
    Call,
    Contract,
    Job,
    Reply,
    iso,
    read_json,
    refuse,
)

if TYPE_CHECKING:
    from contract_server import ContractServer

LABELS = {
    "VOCALS": ("vocals",),
    "INSTRUMENTAL": ("instrumental",),
    "BOTH": ("vocals", "instrumental"),
    "FOUR_STEMS": ("vocals", "drums", "bass", "other"),
    "SIX_STEMS": ("vocals", "drums", "bass", "guitar", "piano", "other"),
}
QUALITIES, FORMATS = ("FAST", "BALANCED", "BEST"), ("WAV", "MP3", "FLAC")
FIELDS = {
    *("uploadKey", "sourceUrl", "fileName", "outputType"),
    *("quality", "outputFormat", "metadata", "callbackUrl"),
}
EXTENSIONS = ("mp3", "wav", "flac", "m4a", "aac", "ogg", "opus", "webm")
LINK_S = 3600

STATES = {DONE: "COMPLETED", FAILED: "FAILED", QUEUED: "PENDING", EXPIRED: "EXPIRED"}


def _error(code: str, message: str = "refused", **more: object) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


async def create(server: "ContractServer", request: Request) -> Reply:
    body = await read_json(request) or {}
    key = request.headers.get("idempotency-key", "")
    if server.honours_keys and key and (known := server.job_with_key(key)):
        if known.order != body:
            refuse(409, _error("IDEMPOTENCY_KEY_REUSED"))
        return Reply(201, _created(known))
    job = Job(uuid4().hex, body, _labels(body), key=key, callback_url=body.get("callbackUrl", ""))
    job.source_url = body.get("sourceUrl", "")
    if not job.source_url:
        job.source = server.uploads.get(body["uploadKey"], b"")
        if not job.source:
            refuse(400, _error("INVALID_UPLOAD_KEY"))
    await server.accept(job)
    return Reply(201, _created(job))


def _labels(body: dict[str, Any]) -> tuple[str, ...]:
    chosen = {"quality": QUALITIES, "outputFormat": FORMATS, "outputType": tuple(LABELS)}
    urls = [body[name] for name in ("sourceUrl", "callbackUrl") if name in body]
    problems = [
        *(f"unknown field {name}" for name in set(body) - FIELDS),
        *(name for name, values in chosen.items() if body.get(name, values[0]) not in values),
        *(f"not a URL: {url}" for url in urls if not str(url).startswith(("http://", "https://"))),
    ]
    if ("sourceUrl" in body) == ("uploadKey" in body):
        problems.append("exactly one of uploadKey and sourceUrl")
    if not isinstance(body.get("metadata", {}), dict):
        problems.append("metadata")
    if problems:
        refuse(400, _error("VALIDATION_ERROR", ", ".join(problems)))
    return LABELS[body.get("outputType", "BOTH")]


def _created(job: Job) -> dict[str, Any]:
    options = {"outputType": "BOTH", "quality": "BEST", "outputFormat": "MP3"}
    return {
        "id": job.id,
        "status": STATES.get(job.state, "PROCESSING"),
        "progress": job.progress,
        "createdAt": iso(time.time()),
        "creditsRequired": int(cost(job)),
        "input": {
            "fileName": job.order.get("fileName", "input.mp3"),
            "durationSeconds": math.ceil(job.seconds),
        },
        "options": {name: job.order.get(name, value) for name, value in options.items()},
        "outputs": None,
        "metadata": job.order.get("metadata"),
    }


def _detail(server: "ContractServer", job: Job) -> dict[str, Any]:
    expires = iso(time.time() + LINK_S)
    links = {label: {"url": server.stem_url(job, label), "expiresAt": expires} for label in job.labels}
    is_charged = job.state == DONE or job.failure == CHARGED
    return {
        **_created(job),
        "outputs": links if job.state == DONE else None,
        "creditsCharged": int(cost(job)) if is_charged else 0,
        "errorMessage": f"Processing failed ({job.failure})" if job.state == FAILED else None,
        "audioMetadata": {"bpm": 120, "key": "C major"} if job.state == DONE else None,
    }


async def status(server: "ContractServer", request: Request) -> Reply:
    job = server.polled(request.path_params["id"])
    if job is None:
        return Reply(404, _error("JOB_NOT_FOUND"))
    return Reply(200, _detail(server, job))


async def listed(server: "ContractServer", request: Request) -> Reply:
    """Return a page of jobs. The document does not say which jobs come first; here the newest do."""
    limit, offset = (
        int(request.query_params.get(name, value)) for name, value in (("limit", 20), ("offset", 0))
    )
    if not 1 <= limit <= 100:
        refuse(400, _error("VALIDATION_ERROR", "limit"))
    jobs = [_detail(server, job) for job in reversed(server.jobs.values())]
    page = [{name: value for name, value in job.items() if name != "outputs"} for job in jobs]
    told = {"total": len(jobs), "limit": limit, "offset": offset, "hasMore": len(jobs) > offset + limit}
    return Reply(200, {"jobs": page[offset : offset + limit], "pagination": told})


async def upload(server: "ContractServer", request: Request) -> Reply:
    body = await read_json(request) or {}
    name, known = str(body.get("filename", "")), {"filename", "contentType"}
    extension = name.rpartition(".")[2].lower()
    if not name or set(body) - known:
        refuse(400, _error("VALIDATION_ERROR", "filename"))
    if extension not in EXTENSIONS:
        refuse(400, _error("UNSUPPORTED_FORMAT"))
    key = f"uploads/api_{uuid4().hex}/input.{extension}"
    kind = body.get("contentType") or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Reply(
        200,
        {
            "uploadUrl": storage.presigned(server, key, kind),
            "uploadKey": key,
            "expiresAt": iso(time.time() + storage.UPLOAD_S),
            "maxFileSizeBytes": storage.MAX_BYTES,
            "maxFileSizeMb": storage.MAX_BYTES // 1024**2,
            "contentType": kind,
        },
    )


async def balance(server: "ContractServer", request: Request) -> Reply:
    left = int(server.credits)
    told = {"balanceSeconds": left, "balanceMinutes": left // 60, "balanceFormatted": f"{left // 60} minutes"}
    return Reply(200, {**told, "updatedAt": iso(time.time())})


def cost(job: Job) -> float:
    """Return the price in credits; one credit is one second of audio."""
    return math.ceil(job.seconds)


def callback(server: "ContractServer", job: Job) -> dict[str, Any]:
    event = "job.completed" if job.state == DONE else "job.failed"
    detail = _detail(server, job)
    return {"event": event, "timestamp": iso(time.time()), "data": {"jobId": detail.pop("id"), **detail}}


def sign(server: "ContractServer", job: Job, body: bytes, wrong: bool) -> dict[str, str]:
    secret = f"{server.secret}{'x' * wrong}".encode()
    return {"X-Webhook-Signature": f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"}


_BUSY = Reply(429, _error("RATE_LIMIT_EXCEEDED"))

CONTRACT = Contract(
    base="/api/v1",
    key="sk_live_contract_key_for_tests",
    header="authorization",
    scheme="Bearer ",
    calls=(
        Call("POST", "/api/v1/jobs", "create", create),
        Call("GET", "/api/v1/jobs", "list", listed),
        Call("GET", "/api/v1/jobs/{id}", "status", status),
        Call("POST", "/api/v1/upload", "upload", upload),
        Call("PUT", storage.PATH, "put", storage.put, needs_key=False),
        Call("GET", "/api/v1/balance", "balance", balance),
    ),
    refusals={
        "no_key": Reply(401, _error("MISSING_API_KEY")),
        "wrong_key": Reply(401, _error("INVALID_API_KEY")),
        "no_credits": Reply(402, _error("INSUFFICIENT_CREDITS", requiredSeconds=180)),
        "used_key": Reply(409, _error("IDEMPOTENCY_KEY_REUSED")),
        "busy": _BUSY,
        "busy_with_retry_after": Reply(429, _BUSY.body, {"Retry-After": "45", "X-RateLimit-Limit": "60"}),
        "maintenance": Reply(503, _error("SERVICE_UNAVAILABLE")),
        "server_error": Reply(500, _error("INTERNAL_ERROR")),
    },
    cost=cost,
    callback=callback,
    sign=sign,
)

"""The contract of fal's queue and its model fal-ai/demucs.

The sources are docs.fal.ai (asynchronous inference, webhooks, errors, request errors, FAQ), the model's page
(fal.ai/models/fal-ai/demucs/llms.txt) and, for uploads, fal's own clients (fal-ai/fal, fal-ai/fal-js).
Uploads and the keys of webhooks are at https://rest.fal.ai, here at the queue's address.

The queue takes any JSON object; what the model refuses becomes a failed request later (the webhook's page
shows a missing field as an example). Errors of 500 and more are never charged; a 422 'may' be charged, and
nothing in the answer tells. There is no idempotency key and, with this key, no balance.

Unconfirmed: the words of 401 and of the lock of an account without balance (from reports of users), how long
files are kept, and whether the webhook is tried again as often as documented (10 times in 2 hours).
"""

import base64
import hashlib
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from nacl.signing import SigningKey
from starlette.requests import Request

from contracts import storage
from contracts.model import (
    CANCELLED,
    CHARGED,
    DONE,
    FAILED,
    INVALID,
    NO_SOURCE,
    QUEUED,
    RUNNING,
    Call,
    Contract,
    Job,
    Reply,
    read_json,
    refuse,
)

if TYPE_CHECKING:
    from contract_server import ContractServer

STEMS = ("vocals", "drums", "bass", "other", "guitar", "piano")
MODELS = {
    **dict.fromkeys(("htdemucs", "htdemucs_ft", "hdemucs_mmi"), STEMS[:4]),
    **dict.fromkeys(("mdx", "mdx_extra", "mdx_q", "mdx_extra_q"), STEMS[:4]),
    "htdemucs_6s": STEMS,
}
FIELDS = ("audio_url", "model", "stems", "segment_length", "shifts", "overlap", "output_format")
PRICE_PER_S = 0.0007
PATH, USER = "/fal-ai/demucs", "user-of-the-tests"
_OLDER_KEY, _KEY = (SigningKey(bytes([seed]) * 32) for seed in (1, 2))


async def submit(server: "ContractServer", request: Request) -> Reply:
    body = await read_json(request)
    if body is None:
        refuse(422, {"detail": [_problem("body", "model_attributes_type")]})
    webhook = request.query_params.get("fal_webhook", "")
    if webhook and not webhook.startswith(("http://", "https://")):
        refuse(422, {"detail": "fal_webhook is not a URL"})
    default = MODELS.get(body.get("model", "htdemucs_6s"), ())
    labels = body.get("stems") or default
    job = Job(str(uuid4()), body, tuple(map(str, labels)), callback_url=webhook)
    job.source_url = str(body.get("audio_url", ""))
    job.details = _problems(body)
    job.failure = INVALID if job.details else ""
    await server.accept(job)
    return Reply(200, {**_urls(server, job), "status": "IN_QUEUE", "queue_position": 0})


def _problem(where: str, kind: str) -> dict[str, Any]:
    loc = ["body"] if where == "body" else ["body", where]
    return {"loc": loc, "msg": f"{where}: {kind}", "type": kind, "url": f"https://docs.fal.ai/errors/#{kind}"}


def _problems(body: dict[str, Any]) -> list[dict[str, Any]]:
    model, stems = body.get("model", "htdemucs_6s"), body.get("stems")
    found = [_problem(name, "extra_forbidden") for name in set(body) - set(FIELDS)]
    if not str(body.get("audio_url", "")).startswith(("http://", "https://")):
        found.append(_problem("audio_url", "missing" if "audio_url" not in body else "url_parsing"))
    if model not in MODELS:
        found.append(_problem("model", "literal_error"))
    elif stems is not None and (not isinstance(stems, list) or not stems or set(stems) - set(MODELS[model])):
        found.append(_problem("stems", "literal_error"))
    ranges = {"shifts": (1, 10), "overlap": (0, 1)}
    for name, (low, high) in ranges.items():
        if not isinstance(body.get(name, low), int | float) or not low <= body.get(name, low) <= high:
            found.append(_problem(name, "less_than_equal"))
    if body.get("output_format", "mp3") not in ("mp3", "wav"):
        found.append(_problem("output_format", "literal_error"))
    return found


def _urls(server: "ContractServer", job: Job) -> dict[str, Any]:
    of_job = f"{server.root}{PATH}/requests/{job.id}"
    urls = {"response_url": of_job, "status_url": f"{of_job}/status", "cancel_url": f"{of_job}/cancel"}
    return {"request_id": job.id, "gateway_request_id": job.id, **urls}


async def status(server: "ContractServer", request: Request) -> Reply:
    job = server.polled(request.path_params["id"])
    if job is None:
        return Reply(404, {"detail": "Request not found"})
    told = _urls(server, job)
    if job.state == QUEUED:
        return Reply(202, {**told, "status": "IN_QUEUE", "queue_position": 0})
    if job.state == RUNNING:
        return Reply(202, {**told, "status": "IN_PROGRESS", "logs": None})
    told |= {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": 1.0}}
    if job.state != DONE:
        failed = _failed(job)
        told |= {"error": str(failed.body["detail"]), "error_type": failed.headers.get("X-Fal-Error-Type")}
    return Reply(200, told)


async def result(server: "ContractServer", request: Request) -> Reply:
    job = server.jobs.get(request.path_params["id"])
    if job is None:
        return Reply(404, {"detail": "Request not found"})
    if job.state in {QUEUED, RUNNING}:
        return Reply(400, {"detail": "Request is still in progress"})
    return Reply(200, _payload(server, job)) if job.state == DONE else _failed(job)


def _payload(server: "ContractServer", job: Job) -> dict[str, Any]:
    def file(label: str) -> dict[str, Any]:
        told = {"content_type": "audio/mpeg", "file_name": f"{label}.mp3", "file_size": len(server.stem)}
        return {"url": server.stem_url(job, label), **told}

    return {label: file(label) if label in job.labels else None for label in STEMS}


def _failed(job: Job) -> Reply:
    kinds = {NO_SOURCE: "file_download_error", CHARGED: "audio_processing_error"}
    if job.failure == INVALID:
        return Reply(422, {"detail": job.details}, {"X-Fal-Retryable": "false"})
    if job.failure in kinds:
        problem = _problem("audio_url", kinds[job.failure])
        return Reply(422, {"detail": [problem]}, {"X-Fal-Retryable": "false"})
    kind = "client_cancelled" if job.state == CANCELLED else "runner_server_error"
    body = {"detail": "Internal Server Error", "error_type": kind}
    return Reply(499 if job.state == CANCELLED else 500, body, {"X-Fal-Error-Type": kind})


async def cancel(server: "ContractServer", request: Request) -> Reply:
    job = server.jobs.get(request.path_params["id"])
    if job is None:
        return Reply(404, {"status": "NOT_FOUND"})
    if job.state in {DONE, FAILED, CANCELLED}:
        return Reply(400, {"status": "ALREADY_COMPLETED"})
    server.cancel(job)
    return Reply(202, {"status": "CANCELLATION_REQUESTED"})


async def initiate(server: "ContractServer", request: Request) -> Reply:
    """Announce an upload; the file's URL is public."""
    body = await read_json(request) or {}
    if set(body) != {"file_name", "content_type"} or not all(map(str, body.values())):
        refuse(422, {"detail": [_problem("file_name", "missing")]})
    key = f"files/{uuid4().hex}/{body['file_name']}"
    upload_url = storage.presigned(server, key, body["content_type"])
    return Reply(200, {"upload_url": upload_url, "file_url": f"{server.root}/storage/{key}"})


def cost(job: Job) -> float:
    """Return the price in dollars, which does not depend on the number of stems."""
    return PRICE_PER_S * job.seconds


def callback(server: "ContractServer", job: Job) -> dict[str, Any]:
    told = {"request_id": job.id, "gateway_request_id": job.id}
    if job.state == DONE:
        return {**told, "status": "OK", "error": None, "payload": _payload(server, job)}
    failed = _failed(job)
    error = f"Invalid status code: {failed.status}"
    return {**told, "status": "ERROR", "error": error, "payload": failed.body}


def sign(server: "ContractServer", job: Job, body: bytes, wrong: bool) -> dict[str, str]:
    signed_at = str(int(time.time()))
    digest = hashlib.sha256(body + b"x" * wrong).hexdigest()
    message = "\n".join((job.id, USER, signed_at, digest)).encode()
    return {
        "X-Fal-Webhook-Request-Id": job.id,
        "X-Fal-Webhook-User-Id": USER,
        "X-Fal-Webhook-Timestamp": signed_at,
        "X-Fal-Webhook-Signature": _KEY.sign(message).signature.hex(),
    }


async def jwks(server: "ContractServer", request: Request) -> Reply:
    """Return the public keys of webhooks, an older one before the valid one."""
    keys = [_OLDER_KEY, _KEY]
    raw = [base64.urlsafe_b64encode(key.verify_key.encode()).decode().rstrip("=") for key in keys]
    known = [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": f"key-{i}"} for i, x in enumerate(raw)]
    return Reply(200, {"keys": known})


_BUSY = Reply(429, {"detail": "Too many requests"})

CONTRACT = Contract(
    base="",
    key="2f1d7c30-contract:key-for-tests",
    header="authorization",
    scheme="Key ",
    calls=(
        Call("POST", PATH, "create", submit),
        Call("GET", f"{PATH}/requests/{{id}}/status", "status", status),
        Call("GET", f"{PATH}/requests/{{id}}", "result", result),
        Call("PUT", f"{PATH}/requests/{{id}}/cancel", "cancel", cancel),
        Call("POST", "/storage/upload/initiate", "upload", initiate),
        Call("PUT", storage.PATH, "put", storage.put, needs_key=False),
        Call("GET", storage.PATH, "get", storage.get, needs_key=False),
        Call("GET", "/.well-known/jwks.json", "keys", jwks, needs_key=False),
    ),
    refusals={
        "no_key": Reply(401, {"detail": "Authentication is required to access this application"}),
        "wrong_key": Reply(401, {"detail": "No user found for Key ID and Secret"}),
        "no_credits": Reply(403, {"detail": "User is locked. Reason: Exhausted balance."}),
        "busy": _BUSY,
        "busy_with_retry_after": Reply(429, _BUSY.body, {"Retry-After": "45"}),
        "maintenance": Reply(503, {"detail": "no runner", "error_type": "runner_scheduling_failure"}),
        "server_error": Reply(500, {"detail": "Internal Server Error", "error_type": "internal_error"}),
    },
    cost=cost,
    callback=callback,
    sign=sign,
)

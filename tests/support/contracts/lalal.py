"""The contract of LALAL.AI's API v1.

The sources are its OpenAPI document 1.1.0 (www.lalal.ai/api/v1/openapi.json), its own examples
(OmniSaleGmbH/lalalai, api-v1) and probes that others published (api-evangelist/lalal-ai, 2026-08).

A reused idempotency key starts nothing: before its task has started, the answer is the same task id, and
afterwards only 400 `idempotency_key_used`, without the task id. A failed task is reported with HTTP 200.

Unconfirmed: the answer to a wrong key and to an unknown source, whether unknown fields are refused, whether
failed tasks consume minutes, how long links live, and how calls are answered during maintenance. The document
allows 30 calls of /check/ a minute; this server does not count them.
"""

import math
import time
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID, uuid4

from starlette.requests import Request

from contracts.model import (
    CANCELLED,
    CHARGED,
    DONE,
    FAILED,
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

MULTISTEMS = ("vocals", "drum", "piano", "bass", "electric_guitar", "acoustic_guitar")
STEMS = (*MULTISTEMS, "synthesizer", "strings", "wind")
SPLITTERS = ("auto", "andromeda", "perseus", "orion", "phoenix", "lyra", "lynx")
FORMATS = (None, "mp3", "wav", "flac", "aac", "ogg")
LEVELS = ("deep_extraction", "clear_cut")
SOURCE_S, MAX_TASKS = 24 * 3600, 200
GONE = "The file has not been uploaded properly or has already been deleted. Please upload it again."

COMMON: dict[str, tuple[object, ...]] = {
    "splitter": SPLITTERS,
    "dereverb_enabled": (False, True),
    "encoder_format": FORMATS,
    "extraction_level": LEVELS,
}


def _invalid(*where: str) -> NoReturn:
    refuse(
        422, {"detail": [{"loc": ["body", *where], "msg": "Input should be valid", "type": "value_error"}]}
    )


def _is_uuid4(value: object) -> bool:
    try:
        return isinstance(value, str) and UUID(value).version == 4 and str(UUID(value)) == value.lower()
    except ValueError:
        return False


async def stem_separator(server: "ContractServer", request: Request) -> Reply:
    """Order one stem and the rest."""
    body = await read_json(request) or {}
    presets = _presets(body, {**COMMON, "stem": STEMS, "multivocal": (None, "lead_back")}, "stem")
    stem = presets["stem"]
    labels: tuple[str, ...] = (stem, f"no_{stem}")
    if presets.get("multivocal"):
        labels = ("vocals@0", "vocals@1", "no_vocals", "mix_no_lead")
    return await _create(server, body, labels)


async def multistem(server: "ContractServer", request: Request) -> Reply:
    """Order several stems, each of which costs, and the rest."""
    body = await read_json(request) or {}
    chosen = _presets(body, COMMON, "stem_list")["stem_list"]
    if not isinstance(chosen, list) or not 1 <= len(chosen) <= 6 or set(chosen) - set(MULTISTEMS):
        _invalid("presets", "stem_list")
    return await _create(server, body, (*chosen, "no_multistem"))


def _presets(body: dict[str, Any], values: dict[str, tuple[object, ...]], needed: str) -> dict[str, Any]:
    for name in set(body) - {"source_id", "presets", "idempotency_key"}:
        _invalid(name)
    presets = body.get("presets")
    if not isinstance(presets, dict) or needed not in presets:
        _invalid("presets", needed)
    for name, value in presets.items():
        if name not in {*values, needed} or (name in values and value not in values[name]):
            _invalid("presets", name)
    if not _is_uuid4(body.get("source_id")):
        _invalid("source_id")
    if body.get("idempotency_key") is not None and not _is_uuid4(body["idempotency_key"]):
        _invalid("idempotency_key")
    return presets


async def _create(server: "ContractServer", body: dict[str, Any], labels: tuple[str, ...]) -> Reply:
    key = body.get("idempotency_key") or ""
    if key and (known := server.job_with_key(key)):
        if known.state == QUEUED and known.order == body:
            return Reply(200, {"task_id": known.id})
        return CONTRACT.refusals["used_key"]
    if body["source_id"] not in server.uploads:
        refuse(400, {"detail": GONE})
    job = Job(str(uuid4()), body, labels, source=server.uploads[body["source_id"]], key=key)
    await server.accept(job)
    return Reply(200, {"task_id": job.id})


async def check(server: "ContractServer", request: Request) -> Reply:
    ids = await _task_ids(request, MAX_TASKS)
    return Reply(200, {"result": {task: _result(server, server.polled(task)) for task in ids}})


async def _task_ids(request: Request, limit: int = 0) -> list[str]:
    body = await read_json(request) or {}
    ids = body.get("task_ids")
    if set(body) != {"task_ids"} or not isinstance(ids, list) or not all(map(_is_uuid4, ids)):
        _invalid("task_ids")
    if limit and len(ids) > limit:
        _invalid("task_ids")
    return ids


def _result(server: "ContractServer", job: Job | None) -> dict[str, Any]:
    if job is None:
        return {"status": "server_error", "error": "Failed to extract information about task"}
    if job.state == FAILED and job.failure != CHARGED:
        return {"status": "server_error", "error": f"['{GONE}']"}
    label = "multistem" if "stem_list" in job.order["presets"] else "stem_separator"
    told = {
        "source_id": job.order["source_id"],
        "presets": {"task_type": "split", "label": label, **job.order["presets"]},
    }
    if job.state == DONE:
        tracks = [
            {
                "type": "back" if name.startswith(("no_", "mix_")) else "stem",
                "label": name,
                "url": server.stem_url(job, name),
            }
            for name in job.labels
        ]
        return {**told, "status": "success", "result": {"duration": int(job.seconds), "tracks": tracks}}
    if job.state == FAILED:
        error = {"detail": "Unable to detect voice/vocals", "code": "inference_error", "id": uuid4().hex}
        return {**told, "status": "error", "error": error}
    if job.state == CANCELLED:
        return {**told, "status": "cancelled"}
    return {**told, "status": "progress", "progress": job.progress}


async def cancel(server: "ContractServer", request: Request) -> Reply:
    result = {}
    for task in await _task_ids(request):
        job = server.jobs.get(task)
        can = job is not None and job.state in {QUEUED, RUNNING}
        if job and can:
            server.cancel(job)
        error = {"status": "server_error", "error": "Task is not in progress state"}
        result[task] = {"status": "success"} if can else error
    return Reply(200, {"result": result})


async def delete(server: "ContractServer", request: Request) -> Reply:
    body = await read_json(request) or {}
    if set(body) != {"source_id"} or not _is_uuid4(body["source_id"]):
        _invalid("source_id")
    server.uploads.pop(body["source_id"], None)
    return Reply(200, {})


async def upload(server: "ContractServer", request: Request) -> Reply:
    header = EmailMessage()
    header["content-disposition"] = request.headers.get("content-disposition", "")
    name, content = header.get_filename(), await request.body()
    if "content-disposition" not in request.headers:
        _invalid("Content-Disposition")
    if header.get_content_disposition() != "attachment" or not name:
        refuse(400, {"detail": "No file name (use the Content-Disposition header)", "code": "no_file_name"})
    seconds = server.length_of(content)
    if not seconds:
        refuse(400, {"detail": "The file is not a media file", "code": "unsupported_file"})
    source_id = str(uuid4())
    server.uploads[source_id] = content
    told = {"id": source_id, "name": name, "size": len(content), "duration": int(seconds)}
    return Reply(200, {**told, "expires": int(time.time() + SOURCE_S)})


async def minutes_left(server: "ContractServer", request: Request) -> Reply:
    return Reply(200, {"minutes_left": round(server.credits, 2)})


def cost(job: Job) -> float:
    """Return the price in minutes, which counts each ordered stem."""
    return math.ceil(job.seconds) / 60 * len(job.order["presets"].get("stem_list", ["one"]))


def _v1(status: int, code: str, detail: str) -> Reply:
    return Reply(status, {"detail": detail, "code": code})


_BASE = "/api/v1"
_BUSY = Reply(429, {"detail": "Too many requests"})

CONTRACT = Contract(
    base=_BASE,
    key="5ce1f9a4contract",
    header="x-license-key",
    scheme="",
    calls=(
        Call("POST", f"{_BASE}/split/stem_separator/", "create", stem_separator),
        Call("POST", f"{_BASE}/split/multistem/", "create", multistem),
        Call("POST", f"{_BASE}/check/", "status", check),
        Call("POST", f"{_BASE}/upload/", "upload", upload),
        Call("POST", f"{_BASE}/cancel/", "cancel", cancel),
        Call("POST", f"{_BASE}/delete/", "delete", delete),
        Call("POST", f"{_BASE}/limits/minutes_left/", "balance", minutes_left),
    ),
    refusals={
        "no_key": Reply(403, {"detail": "Provide license key in 'X-License-Key' header"}),
        "wrong_key": Reply(403, {"detail": "Invalid license key"}),
        "no_credits": _v1(400, "exceeded_duration", "Not enough minutes left"),
        "used_key": _v1(400, "idempotency_key_used", "Idempotency key has already been used."),
        "busy": _BUSY,
        "busy_with_retry_after": Reply(429, _BUSY.body, {"Retry-After": "45"}),
        "maintenance": Reply(503, {"detail": "Service Unavailable"}),
        "server_error": Reply(500, {"detail": "Internal Server Error"}),
        "create.server_error": _v1(400, "internal_error", "The task could not be started"),
    },
    cost=cost,
    expired_status=410,
)

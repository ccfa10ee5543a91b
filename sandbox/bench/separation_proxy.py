"""Stands between stemdrop and the separation API: records the calls and injects faults.

Create calls get another callback address, so that callbacks pass through `sandbox.bench.callback_proxy`.
"""

import asyncio
import json
import re
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.bench.records import RecordKind, Records
from sandbox.bench.relay import Relay, Relayed, bad_gateway, drain, read_body, sleep_until
from sandbox.bench.separation_faults import CREATE, SeparationFault, SeparationFaultKind, SeparationFaults
from sandbox.telegram.bot_api.broken_connections import NoAnswer

# The names of the endpoints that are recorded; downloads of stems are not.
METHODS = {
    "api/v1/vocal-removal/generate": CREATE,
    "api/v1/vocal-removal/record-info": "detail",
    "api/v1/generate/credit": "credits",
    "api/v1/vocal-removal/abilities": "abilities",
    "api/file-stream-upload": "upload",
}
_VERBS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]


class SeparationProxy:
    """Serves `/separation/…`; `target_url` is the separator's and must be set before the first request."""

    def __init__(
        self, http: httpx.AsyncClient, records: Records, faults: SeparationFaults, closing: asyncio.Event
    ) -> None:
        self._relay = Relay(http, closing)
        self._records = records
        self._faults = faults
        self._closing = closing
        self.target_url = ""

    def routes(self) -> list[Route]:
        return [Route("/separation/{path:path}", self._handle, methods=_VERBS)]

    async def _handle(self, request: Request) -> Response:
        url = f"{self.target_url}/{request.path_params['path']}"
        method = METHODS.get(request.path_params["path"])
        if method is None:
            try:
                return Relayed(await self._relay.send(request, url))
            except httpx.HTTPError:
                return bad_gateway()
        return await self._answer(_Call(self._records, request, method, await read_body(request)), url)

    async def _answer(self, call: "_Call", url: str) -> Response:
        fault = self._faults.take_call(call.method)
        kind = fault.kind if fault else None
        if fault and kind in (SeparationFaultKind.API_REFUSED, SeparationFaultKind.API_REFUSED_STATUS):
            return await _refuse(call, fault)
        if kind is SeparationFaultKind.API_RESET_BEFORE:
            call.record(None, None, fault)
            return NoAnswer(self._closing, is_reset=True)
        if fault and kind is SeparationFaultKind.API_SLOW:
            await sleep_until(self._closing, fault.delay_s)
        try:
            answer = await self._relay.send(call.request, url, call.passed_body())
            content = self._corrected(call, await answer.aread())
        except httpx.HTTPError:
            call.record(502, None, fault, "the separator does not answer")
            return bad_gateway()
        if kind is SeparationFaultKind.API_RESET_AFTER:
            call.record(None, read_json(content), fault)
            return NoAnswer(self._closing, is_reset=True)
        call.record(answer.status_code, read_json(content), fault)
        return Response(content, answer.status_code, media_type=answer.headers.get("content-type"))

    def _corrected(self, call: "_Call", content: bytes) -> bytes:
        """Return the answer, or a failure for the detail of a task that the bench has reported as failed."""
        code = self._faults.failed_with(call.task_id) if call.method == "detail" else None
        if code is None:
            return content
        failure = {
            "successFlag": "GENERATE_AUDIO_FAILED",
            "errorCode": code,
            "errorMessage": "failed by the bench",
        }
        data = {"taskId": call.task_id, **failure, "response": None}
        return json.dumps({"code": 200, "msg": "success", "data": data}).encode()


class _Call:
    """One call to the separation API, and the values for its record."""

    def __init__(self, records: Records, request: Request, method: str, body: bytes | None) -> None:
        self._records = records
        self.request = request
        self.method = method
        self.body = body
        self.sent = _sent(request, body)
        self.task_id = str(self.sent.get("taskId", ""))

    def passed_body(self) -> bytes | None:
        """Return the body for the separator, with our own address in place of the webhook's."""
        token = _callback_token(self.sent)
        if not token:
            return self.body
        return json.dumps({**self.sent, "callBackUrl": f"{self.request.base_url}callback/{token}"}).encode()

    def record(
        self, status: int | None, answer: Any, fault: SeparationFault | None, description: str = ""
    ) -> None:
        self._records.add(
            RecordKind.SEPARATION,
            self.method,
            parameters=self.sent,
            status=status,
            answer=answer,
            description=description,
            fault=fault.kind if fault else None,
            job_id=job_of_token(_callback_token(self.sent)),
            task_id=self.task_id or task_id_of(answer),
        )


async def _refuse(call: _Call, fault: SeparationFault) -> Response:
    await drain(call.request)
    refusal = {"code": fault.code, "msg": "refused by the bench", "data": None}
    status = fault.code if fault.kind is SeparationFaultKind.API_REFUSED_STATUS else 200
    call.record(status, refusal, fault)
    return JSONResponse(refusal, status)


def _sent(request: Request, body: bytes | None) -> dict[str, Any]:
    """Return the query, with the fields of a JSON body or the size of another body."""
    sent: dict[str, Any] = dict(request.query_params)
    found = read_json(body or b"")
    if isinstance(found, dict):
        return {**sent, **found}
    size = request.headers.get("content-length", "0")
    return {**sent, "size_bytes": int(size)} if size.isdecimal() and int(size) else sent


def _callback_token(sent: dict[str, Any]) -> str:
    """Return the token of the callback's link, or an empty text for a call without a webhook."""
    return str(sent.get("callBackUrl", "")).partition("/callback/")[2]


def job_of_token(token: str) -> str:
    """Return the job id in a link's token, or an empty text. The signature is not checked."""
    job_id = token.partition(".")[0]
    return job_id if re.fullmatch(r"[0-9a-f]{16}", job_id) else ""


def task_id_of(body: Any) -> str:
    """Return the task that an answer or a callback names, or an empty text."""
    data = body.get("data") if isinstance(body, dict) else None
    found = (data.get("taskId") or data.get("task_id")) if isinstance(data, dict) else None
    return found if isinstance(found, str) else ""


def read_json(content: bytes) -> Any:
    """Return the content, or None where it is not JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None

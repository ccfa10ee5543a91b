"""Stands between the separator and stemdrop's webhook: records callbacks and injects faults."""

import asyncio
import json
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.bench.records import RecordKind, Records
from sandbox.bench.relay import Relay, bad_gateway, drain, read_body, sleep_until
from sandbox.bench.separation_faults import SeparationFault, SeparationFaultKind, SeparationFaults
from sandbox.bench.separation_proxy import job_of_token, read_json, task_id_of


class CallbackProxy:
    """Serves `/callback/<token>`; `target_url` is the webhook's and must be set before the first request."""

    def __init__(
        self, http: httpx.AsyncClient, records: Records, faults: SeparationFaults, closing: asyncio.Event
    ) -> None:
        self._relay = Relay(http, closing)
        self._records = records
        self._faults = faults
        self._closing = closing
        self._held: set[asyncio.Task[None]] = set()
        self.target_url = ""

    def routes(self) -> list[Route]:
        return [Route("/callback/{token}", self._callback, methods=["POST"])]

    async def close(self) -> None:
        """Drop the callbacks that are held back."""
        for task in self._held:
            task.cancel()
        await asyncio.gather(*self._held, return_exceptions=True)

    async def _callback(self, request: Request) -> Response:
        body = await read_body(request)
        if body is None:
            await drain(request)
            return Response(status_code=413)
        fault = self._faults.take_callback()
        kind = fault.kind if fault else None
        if fault and kind is SeparationFaultKind.CALLBACK_FAILED:
            body = self._fail(body, fault.code)
        elif kind is SeparationFaultKind.CALLBACK_DOUBLED:
            answers = (self._deliver(request, body, fault), self._deliver(request, body, fault))
            return (await asyncio.gather(*answers))[0]
        elif fault:
            self._record(request, body, None, fault=fault)
            if kind is SeparationFaultKind.CALLBACK_LATE:
                self._hold(request, body, fault.delay_s)
            return JSONResponse({"status": "received"})  # otherwise the separator would send it again
        return await self._deliver(request, body, fault)

    def _fail(self, body: bytes, code: int) -> bytes:
        """Return a callback that reports the task as failed; from now on the detail endpoint does so, too."""
        task_id = task_id_of(read_json(body))
        self._faults.fail_task(task_id, code)
        data = {"task_id": task_id, "vocal_removal_info": None}
        return json.dumps({"code": code, "msg": "failed by the bench", "data": data}).encode()

    def _hold(self, request: Request, body: bytes, delay_s: float) -> None:
        async def deliver() -> None:
            await sleep_until(self._closing, delay_s)
            await self._deliver(request, body, None)

        task = asyncio.create_task(deliver())
        self._held.add(task)
        task.add_done_callback(self._held.discard)

    async def _deliver(self, request: Request, body: bytes, fault: SeparationFault | None) -> Response:
        url = f"{self.target_url}/callback/{request.path_params['token']}"
        try:
            answer = await self._relay.send(request, url, body)
            content = await answer.aread()
        except httpx.HTTPError:
            self._record(request, body, 502, fault=fault, description="the webhook does not answer")
            return bad_gateway()
        self._record(request, body, answer.status_code, read_json(content), fault)
        return Response(content, answer.status_code, media_type=answer.headers.get("content-type"))

    def _record(
        self,
        request: Request,
        body: bytes,
        status: int | None,
        answer: Any = None,
        fault: SeparationFault | None = None,
        description: str = "",
    ) -> None:
        sent = read_json(body)
        self._records.add(
            RecordKind.CALLBACK,
            "callback",
            parameters=sent,
            status=status,
            answer=answer,
            description=description,
            fault=fault.kind if fault else None,
            job_id=job_of_token(request.path_params["token"]),
            task_id=task_id_of(sent),
        )

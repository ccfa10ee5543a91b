"""The Bot API over HTTP: `/bot<token>/<method>` and `/file/bot<token>/<path>`.

Each call passes these steps: token, body, injected faults, method, parameters, handler, call log.
"""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from sandbox.bench.records import RecordKind
from sandbox.telegram.bot_api.broken_connections import BrokenFile, NoAnswer, read_half, until_disconnect
from sandbox.telegram.bot_api.methods import METHODS
from sandbox.telegram.bot_api.parameters import Call, Upload, check_arguments, parse_json, sendable
from sandbox.telegram.errors import (
    ApiError,
    bad_request,
    forbidden,
    not_found,
    too_large,
    too_many_requests,
    unauthorized,
)
from sandbox.telegram.faults import DOWNLOAD, Fault, FaultKind
from sandbox.telegram.state import BotCall, TelegramState

_FORM_OVERHEAD_BYTES = 1024 * 1024  # of a multipart body, beside its files
_NAMES = {name.lower(): name for name in METHODS}  # names of methods are case-insensitive
_OTHER_VERBS = ("PUT", "PATCH", "DELETE", "OPTIONS")
_AFTER = (FaultKind.TIMEOUT_AFTER, FaultKind.RESET_AFTER)
_UNANSWERED = (*_AFTER, FaultKind.TIMEOUT_BEFORE, FaultKind.RESET_BEFORE, FaultKind.RESET_MID_UPLOAD)
_RESETS = (FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER, FaultKind.RESET_MID_UPLOAD)


def create_routes(telegram: TelegramState) -> list[Route]:

    async def call_method(request: Request) -> Response:
        path = request.path_params
        name = _NAMES.get(path["method"].lower(), path["method"])
        return await _Exchange(telegram, name, request).run(path["token"])

    async def download(request: Request) -> Response:
        path = request.path_params
        fault: Fault | None = None
        try:
            _check_token(telegram, path["token"])
            fault = telegram.faults.take(DOWNLOAD, None)
            response = _download(telegram, path["file_path"], fault)
        except ApiError as error:
            response = JSONResponse(error.body(), error.status)
        telegram.records.add(
            RecordKind.BOT,
            DOWNLOAD,
            parameters={"file_path": path["file_path"]},
            status=None if isinstance(response, NoAnswer) else response.status_code,
            fault=fault.kind if fault else None,
        )
        return response

    return [
        Route("/bot{token}/{method}", call_method, methods=["GET", "POST", *_OTHER_VERBS]),
        Route("/file/bot{token}/{file_path:path}", download, methods=["GET"]),
    ]


@dataclass
class _Exchange:
    telegram: TelegramState
    method: str
    request: Request
    sent: dict[str, Any] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)

    async def run(self, token: str) -> Response:
        fault: Fault | None = None
        try:
            _check_verb(self.request)
            _check_token(self.telegram, token)
            if fault := self.telegram.faults.take_before_body(self.method):
                await read_half(self.request)
                return self._unanswered(fault)
            await self._read()
            fault = self.telegram.faults.take(self.method, self._chat_id())
            if fault and fault.kind == FaultKind.SLOW_ANSWER:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.telegram.closing.wait(), fault.delay_s)
            elif fault and fault.kind not in _AFTER:
                return self._faulty(fault)
            result = await self._call()
            if fault and fault.kind in _AFTER:
                return self._unanswered(fault)
            self._log(200, "", fault, answer=result)
            return JSONResponse({"ok": True, "result": result})
        except ApiError as error:
            self._log(error.status, error.description, fault)
            return JSONResponse(error.body(), error.status)
        except ClientDisconnect:
            self._log(None, "the client disconnected")
            return NoAnswer(self.telegram.closing, is_reset=True)
        finally:
            await self.request.close()  # deletes the temporary files of a form

    async def _read(self) -> None:
        """Read the parameters from query, JSON or form."""
        self.sent.update(self.request.query_params)
        length = int(self.request.headers.get("content-length", "0"))
        limit = self.telegram.limits.upload_bytes + _FORM_OVERHEAD_BYTES
        if length > limit or (length > _FORM_OVERHEAD_BYTES and length > self.telegram.room.left_bytes()):
            async for _ in self.request.stream():
                pass  # read to the end, or the client sees a broken connection instead of the answer
            raise too_large()
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_chunked = "transfer-encoding" in self.request.headers
        if self.request.method == "GET" or not (length or is_chunked):
            await self.request.body()
            return
        if kind == "application/json":
            try:
                body = parse_json(await self.request.body())
            except ValueError:
                body = None
            if not isinstance(body, dict):
                raise bad_request("can't parse JSON object")
            self.sent.update(body)
            return
        try:
            form = await self.request.form()
        except HTTPException as error:
            raise bad_request(f"can't parse the body: {error.detail}") from error
        self._take(form)

    def _take(self, form: FormData) -> None:
        uploads, texts = {}, {}
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                uploads[name] = Upload(name, value.filename or name, value.file, value.size or 0)
            else:
                texts[name] = value
        # a form may be in a character set that allows lone surrogates
        sendable([texts, [(name, upload.file_name) for name, upload in uploads.items()]])
        self.sent.update(texts)
        self.uploads.update(uploads)

    async def _call(self) -> Any:
        if self.method not in METHODS:
            raise not_found(
                f": method not found: the local Telegram does not support the method {self.method}"
            )
        method = METHODS[self.method]
        arguments = check_arguments(self.method, method.parameters, self.sent, self.uploads)

        async def wait_disconnect() -> None:
            await until_disconnect(self.request.receive, self.telegram.closing)

        call = Call(self.method, arguments, self.uploads, wait_disconnect)
        if not any(parameter.name in _FILE_PARAMETERS for parameter in method.parameters):
            call.refuse_unused_uploads()
        return await method.handler(self.telegram, call)

    def _faulty(self, fault: Fault) -> Response:
        if fault.kind in (FaultKind.TIMEOUT_BEFORE, FaultKind.RESET_BEFORE):
            return self._unanswered(fault)
        if fault.kind == FaultKind.BAD_GATEWAY:
            self._log(502, "Bad Gateway", fault)
        if fault.kind == FaultKind.BLOCKED:
            raise forbidden("bot was blocked by the user")
        if fault.kind == FaultKind.NO_RIGHTS:
            raise bad_request(
                f"not enough rights to send {_SENT.get(self.method, 'text messages')} to the chat"
            )
        if fault.kind == FaultKind.FILE_GONE:
            raise bad_request("invalid file_id")
        if fault.kind == FaultKind.FILE_UNAVAILABLE:
            raise bad_request("wrong file_id or the file is temporarily unavailable")
        return _server_failure(fault)

    def _unanswered(self, fault: Fault) -> Response:
        self._log(None, "", fault)
        return NoAnswer(self.telegram.closing, is_reset=fault.kind in _RESETS)

    def _chat_id(self) -> int | None:
        given = str(self.sent.get("chat_id", ""))
        return int(given) if re.fullmatch(r"-?\d{1,18}", given) else None

    def _log(
        self, status: int | None, description: str, fault: Fault | None = None, answer: Any = None
    ) -> None:
        uploads = {
            name: {"file_name": upload.file_name, "size_bytes": upload.size_bytes}
            for name, upload in self.uploads.items()
        }
        call = BotCall(
            self.method,
            {**self.sent, **uploads},
            status,
            description,
            self.telegram.clock(),
            fault.kind.value if fault else None,
            answer,
        )
        self.telegram.log_call(call)


# What a method sends, in Telegram's words; all others send text.
_SENT = {
    "sendAudio": "music",
    "sendMediaGroup": "music",
    "sendDocument": "documents",
    "sendVoice": "voice notes",
    "sendPhoto": "photos",
}
_FILE_PARAMETERS = ("audio", "voice", "photo", "document", "media")


def _check_verb(request: Request) -> None:
    if request.method in _OTHER_VERBS:
        raise ApiError(501, "Not Implemented")  # as TDLib's HttpReader


def _check_token(telegram: TelegramState, token: str) -> None:
    if not re.fullmatch(r"\d+:[\w-]+", token):
        raise not_found()  # as api.telegram.org answers to a malformed token
    if token != telegram.token:
        raise unauthorized()


def _download(telegram: TelegramState, file_path: str, fault: Fault | None) -> Response:
    stored = telegram.files.by_path(file_path)
    if stored is None or (fault and fault.kind == FaultKind.FILE_GONE):
        raise not_found()
    limit = telegram.limits.download_bytes
    if limit is not None and stored.content.size_bytes > limit:
        raise not_found()
    path = telegram.files.path_of(stored)
    if fault is None:
        return FileResponse(path, media_type="application/octet-stream")
    if fault.kind in (FaultKind.SLOW, FaultKind.RESET_MID_DOWNLOAD):
        slow = fault.bytes_per_s if fault.kind == FaultKind.SLOW else None
        return BrokenFile(path, bytes_per_s=slow, is_cut=fault.kind == FaultKind.RESET_MID_DOWNLOAD)
    if fault.kind in _UNANSWERED:
        return NoAnswer(telegram.closing, is_reset=fault.kind in _RESETS)
    return _server_failure(fault)


def _server_failure(fault: Fault) -> Response:
    if fault.kind == FaultKind.BAD_GATEWAY:
        return HTMLResponse("<html><head><title>502 Bad Gateway</title></head></html>", 502)
    if fault.kind == FaultKind.TOO_MANY_REQUESTS:
        raise too_many_requests(fault.retry_after_s)
    raise ApiError(500, "Internal Server Error")

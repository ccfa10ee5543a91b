"""Telegram, the separation API and the host of its stems, in threads over plain sockets.

They cost little, since they share the cores with what is measured, and they are not strict: the sandbox's
are, and the tests use those. All calls are recorded with the time at which they had come in whole.
"""

import json
import queue
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from callback_bodies import TWO_STEMS, callback_body
from threaded_http import Request, Response, as_json, serve

T = TypeVar("T")

_FIELD = re.compile(
    rb'Content-Disposition: form-data; name="(\w+)"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', re.DOTALL
)
_BOT = {"id": 1, "is_bot": True, "first_name": "Bench", "username": "bench_bot"}
_PATIENCE_S = 30


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method of the Bot API."""

    at: float
    method: str
    parameters: Mapping[str, str]

    @property
    def chat_id(self) -> int:
        return int(self.parameters.get("chat_id", 0))

    @property
    def audios(self) -> int:
        """How many audio files it brings."""
        if self.method == "sendMediaGroup":
            return len(json.loads(self.parameters["media"]))
        return int(self.method == "sendAudio")

    @property
    def buttons(self) -> list[str]:
        """The data of its inline buttons."""
        rows = json.loads(self.parameters.get("reply_markup", "{}")).get("inline_keyboard", [])
        return [button["callback_data"] for row in rows for button in row if "callback_data" in button]


@dataclass
class Create:
    """One create call of the separation API; `called_back_at` is 0.0 until its result is sent."""

    at: float
    called_back_at: float = 0.0


@dataclass
class StandIn:
    """State and orders. `files` are served as stems, each by its name and by any other that begins with it
    and a hyphen; the first is also each song of Telegram's.

    Orders: `separation_s` passes between a create call and its callback; `stem_delay_s` before a
    stem is served; `called_back` is the file of the stems that are called back, by the names `called_names`.
    """

    files: Mapping[str, bytes]
    separation_s: float = 0.2
    stem_delay_s: float = 0.0
    called_back: str = ""
    called_names: Sequence[str] = TWO_STEMS
    scheme: str = "http"
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    creates: dict[int, Create] = field(default_factory=dict)  # by chat
    last_message: dict[int, int] = field(default_factory=dict)  # chat → message id
    errors: list[str] = field(default_factory=list)
    updates: "queue.SimpleQueue[dict[str, Any]]" = field(default_factory=queue.SimpleQueue)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _message_ids: Iterator[int] = field(default_factory=lambda: count(1000))
    _update_ids: Iterator[int] = field(default_factory=lambda: count(1))
    _task_ids: Iterator[int] = field(default_factory=lambda: count(1))

    @contextmanager
    def run(self, tls: ssl.SSLContext | None = None) -> Iterator["StandIn"]:
        """Serve it on a free port of loopback, over HTTPS where there is a certificate."""
        self.scheme = "https" if tls else "http"
        with serve(self._route, self.errors.append, tls) as self.port:
            yield self

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def song(self) -> bytes:
        """Every song of Telegram's."""
        return next(iter(self.files.values()))

    def stem_url(self, name: str) -> str:
        """Where a file is, such as `three-vocal` for the file `three`."""
        return f"{self.url}/stems/{name}.mp3"

    def of(self, chat_id: int) -> list[Call]:
        """The calls in a chat."""
        return [call for call in self.calls if call.chat_id == chat_id]

    def wait_for(self, find: Callable[[], T | None], timeout_s: float = 120) -> T:
        """Wait in a thread until something is found, and return it. Raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: find() is not None, timeout_s):
                raise TimeoutError(f"{self.calls[-3:]} {self.errors}")
            found = find()
            assert found is not None
            return found

    def send_update(self, kind: str, content: Mapping[str, Any]) -> float:
        """Hand an update to the bot that polls; returns when that was."""
        sent_at = time.perf_counter()
        self.updates.put({"update_id": next(self._update_ids), kind: content})
        return sent_at

    def note(self, append: Callable[[], object]) -> None:
        """Change something that is waited for."""
        with self._changed:
            append()
            self._changed.notify_all()

    def _route(self, request: Request) -> Response:
        path = request.path
        if path.startswith("/bot"):
            answer = self._call_bot_api(path.rpartition("/")[2], _parameters(request))
            return as_json({"ok": True, "result": answer})
        if path.startswith("/stems/"):
            time.sleep(self.stem_delay_s)
            name = path.removeprefix("/stems/").removesuffix(".mp3")
            return Response(self.files.get(name) or self.files[name.partition("-")[0]], "audio/mpeg")
        if path.startswith("/file/"):
            return Response(self.song, "audio/mpeg")
        if path.endswith("/vocal-removal/generate"):
            return _success(self._create(json.loads(request.head), time.perf_counter()))
        if path.endswith("/generate/credit"):
            return _success(1000)
        return as_json({"code": 404, "msg": f"no {path}"}, "404 Not Found")

    def _call_bot_api(self, method: str, parameters: Mapping[str, str]) -> object:
        """Answer a method of the Bot API."""
        if method == "getUpdates":
            return self._updates(float(parameters.get("timeout", 0)))
        call = Call(time.perf_counter(), method, parameters)
        answer = self._answer(call)
        self.note(lambda: self.calls.append(call))
        return answer

    def _updates(self, timeout_s: float) -> list[dict[str, Any]]:
        found = []
        try:
            found.append(self.updates.get(timeout=max(timeout_s, 0.001)))
            while True:
                found.append(self.updates.get_nowait())
        except queue.Empty:
            return found

    def _answer(self, call: Call) -> object:
        named = call.parameters
        if call.method == "getMe":
            return _BOT
        if call.method == "getFile":
            file_id = named["file_id"]
            return {"file_id": file_id, "file_unique_id": file_id, "file_path": "music/song.mp3"}
        if call.method == "sendMediaGroup":
            return [self._message(call, f"{index}") for index in range(call.audios)]
        if call.method.startswith(("send", "edit")) and call.method != "sendChatAction":
            return self._message(call, "0")
        return True

    def _message(self, call: Call, index: str) -> dict[str, Any]:
        number = int(call.parameters.get("message_id") or next(self._message_ids))
        message: dict[str, Any] = {"message_id": number, "date": int(time.time()), "from": _BOT}
        self.last_message[call.chat_id] = number
        message["chat"] = {"id": call.chat_id, "type": "private", "first_name": "Person"}
        if call.audios:
            name = f"file-{number}-{index}"
            message["audio"] = {
                "file_id": name,
                "file_unique_id": name,
                "duration": 180,
                "file_size": 3_000_000,
            }
        else:
            message["text"] = call.parameters.get("text", "…")
        return message

    def _create(self, body: Mapping[str, Any], at: float) -> dict[str, Any]:
        """Accept a create call; its result is called back later, if that is asked for."""
        task_id = f"{next(self._task_ids):032x}"
        create = Create(at)
        # the chat is in the signed link; the plain bot writes it instead of a source
        link = body.get("callBackUrl") or body["audioUrl"]
        chat_id = int(link.rpartition("/")[2].split(".")[1 if "." in link else 0])
        self.note(lambda: self.creates.update({chat_id: create}))
        if "callBackUrl" in body:
            threading.Thread(target=self._separate, args=(body, task_id, create), daemon=True).start()
        return {"taskId": task_id}

    def _separate(self, body: Mapping[str, Any], task_id: str, create: Create) -> None:
        try:
            with urllib.request.urlopen(body["audioUrl"], timeout=_PATIENCE_S) as song:
                song.read()
            time.sleep(self.separation_s)
            urls = {name: self.stem_url(f"{self.called_back}-{name}") for name in self.called_names}
            kind = {"Content-Type": "application/json"}
            request = urllib.request.Request(body["callBackUrl"], callback_body(task_id, urls), kind)
            create.called_back_at = time.perf_counter()
            with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:
                answer.read()
        except (OSError, HTTPException) as error:
            self.errors.append(f"{task_id}: {error!r}")


def _success(data: object) -> Response:
    return as_json({"code": 200, "msg": "success", "data": data})


def _parameters(request: Request) -> dict[str, str]:
    kind, body = request.content_type, request.head
    if kind.startswith("application/json"):
        named = json.loads(body)
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}
    if kind.startswith("multipart/"):
        return {name.decode(): value.decode(errors="replace") for name, value in _FIELD.findall(body)}
    return dict(parse_qsl(body.decode()))

"""Parts of the tests of the separator: separators on free ports, their clients, and audio files."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast

import av
import httpx
import numpy as np
import numpy.typing as npt
import pytest
import uvicorn
from av import AudioStream
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from waits import WAIT_S

from separator.app import create_app
from separator.settings import SeparatorSettings

ROOT = Path(__file__).resolve().parents[2]
KEY = "the-key"

T = TypeVar("T")
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of the true stems."""
    return ROOT / "tests" / "media"


@pytest.fixture(scope="session")
def demo_song() -> Path:
    return ROOT / "sandbox" / "songs" / "demo-song.mp3"


def _poll(probe: Callable[[], T | None], what: str, deadline_s: float = WAIT_S) -> T:
    """Return the first true value of `probe`; `what` names it for the failure."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        value = probe()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come within {deadline_s} s")


@pytest.fixture(scope="session")
def poll() -> Callable[..., Any]:
    return _poll


@contextmanager
def _serve(app: Any, listener: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(app, http="h11", log_config=None, access_log=False, lifespan="auto", ws="none")
    config.timeout_graceful_shutdown = 2
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        _poll(lambda: server.started or not thread.is_alive(), "the server")
        assert server.started, "the server did not start"
        yield
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"
        listener.close()


def _listener() -> tuple[socket.socket, str]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@dataclass
class Client:
    """One client: it serves sources and answers callbacks with `answers`, then with 200."""

    origin: str
    sources: dict[str, bytes] = field(default_factory=dict)
    callbacks: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)

    @property
    def callback_url(self) -> str:
        return f"{self.origin}/callback"

    def source(self, data: bytes, name: str = "song.mp3", way: str = "source") -> str:
        """Serve `data` and return its URL.

        `way` is `source`, `redirected`, `unannounced` (without Content-Length), `restarting` (502 at
        first) or `gated` (blocked until the gate is set).
        """
        self.sources[name] = data
        return f"{self.origin}/{way}/{name}"

    def serve(self, way: str, name: str) -> Response:
        self.asked.append(name)
        if way == "redirected":
            return RedirectResponse(f"{self.origin}/source/{name}")
        if way == "gated":
            self.gate.wait(60)
        if way == "restarting" and self.asked.count(name) == 1:
            return Response(status_code=502)
        if way == "unannounced":
            return StreamingResponse(iter([self.sources[name]]))
        return Response(self.sources[name]) if name in self.sources else Response(status_code=404)

    def called(self, headers: dict[str, str], body: dict[str, Any]) -> Response:
        self.callbacks.append((headers, body))
        status = self.answers.pop(0) if self.answers else 200
        return JSONResponse({"status": "received"}, status_code=status)


@pytest.fixture(scope="session")
def clients_server() -> Iterator[tuple[str, dict[str, Client]]]:
    """One server for all tests' clients, each under its own name, so that late callbacks do not mix."""
    clients: dict[str, Client] = {}

    def source(request: Request) -> Response:  # not async, since waiting for a gate blocks
        path = request.path_params
        return clients[path["client"]].serve(path["way"], path["name"])

    async def callback(request: Request) -> Response:
        return clients[request.path_params["client"]].called(dict(request.headers), await request.json())

    routes = [
        Route("/{client}/callback", callback, methods=["POST"]),
        Route("/{client}/{way}/{name}", source),
    ]
    listener, origin = _listener()
    with _serve(Starlette(routes=routes), listener):
        yield origin, clients
        for client in clients.values():
            client.gate.set()


@pytest.fixture
def client(clients_server: tuple[str, dict[str, Client]]) -> Iterator[Client]:
    origin, clients = clients_server
    name = f"client{len(clients)}"
    clients[name] = Client(f"{origin}/{name}")
    yield clients[name]
    clients[name].gate.set()


@dataclass
class RunningSeparator:
    """A running separator, and an HTTP client with its key."""

    settings: SeparatorSettings
    http: httpx.Client

    def create(self, **fields: Any) -> dict[str, Any]:
        answer = self.http.post("/api/v1/vocal-removal/generate", json=fields)
        assert answer.status_code == 200
        return dict(answer.json())

    def task(self, **fields: Any) -> str:
        answer = self.create(**fields)
        assert answer["code"] == 200, answer
        return str(answer["data"]["taskId"])

    def record(self, task_id: str) -> dict[str, Any]:
        answer = self.http.get("/api/v1/vocal-removal/record-info", params={"taskId": task_id}).json()
        assert answer["code"] == 200, answer
        return dict(answer["data"])

    def ended(self, task_id: str, deadline_s: float = WAIT_S) -> dict[str, Any]:
        """Wait for the end of a task; returns its detail."""
        return _poll(
            lambda: record if (record := self.record(task_id))["successFlag"] != "PENDING" else None,
            "the end of the task",
            deadline_s,
        )


@contextmanager
def _running(data: Path, **changes: Any) -> Iterator[RunningSeparator]:
    listener, address = _listener()
    fields: dict[str, Any] = {"api_key": KEY, "data": data, "origin": address, "callback_pauses_s": (0, 0)}
    fields["source_pauses_s"] = (0, 0)
    settings = SeparatorSettings(**(fields | changes))
    headers = {"Authorization": f"Bearer {KEY}"}
    http_client = httpx.Client(base_url=address, headers=headers, timeout=WAIT_S)
    with _serve(create_app(settings), listener), http_client as http:
        yield RunningSeparator(settings, http)


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., AbstractContextManager[RunningSeparator]]:
    """Return a function that starts a separator; all separators of one test share the data folder."""
    return partial(_running, tmp_path / "data")


@pytest.fixture(scope="session")
def separator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSeparator]:
    """A separator with default settings, shared by all tests."""
    with _running(tmp_path_factory.mktemp("separator")) as running:
        yield running


def _tone(seconds: float, rate: int = 44_100, channels: int = 2) -> Floats:
    """A quiet tone with a click exactly one second in."""
    times = np.arange(round(seconds * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * 330 * times)
    sound[(times >= 1.0) & (times < 1.0004)] = 0.9
    return np.tile(sound.astype(np.float32), (channels, 1))


@pytest.fixture(scope="session")
def tone() -> Callable[..., Floats]:
    return _tone


_CONTAINERS = {
    "mp3": ("mp3", "libmp3lame", "fltp"),
    "m4a": ("ipod", "aac", "fltp"),
    "mp4": ("mp4", "aac", "fltp"),
    "ogg": ("ogg", "libopus", "flt"),
    "webm": ("webm", "libopus", "flt"),
    "flac": ("flac", "flac", "s16"),
    "wav": ("wav", "pcm_f32le", "flt"),
}
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def _write_audio(path: Path, sound: Floats, rate: int = 44_100, **tags: str) -> Path:
    container, codec, sample_format = _CONTAINERS[path.suffix[1:]]
    layout = _LAYOUTS[len(sound)]
    with av.open(str(path), "w", format=container) as out:
        out.metadata.update(tags)
        stream = cast(AudioStream, out.add_stream(codec, rate=rate, layout=layout))
        stream.codec_context.format = sample_format
        frame = AudioFrame.from_ndarray(sound, format="fltp", layout=layout)
        frame.sample_rate = rate
        frame.pts = 0
        converter = AudioResampler(format=sample_format, layout=layout, rate=rate)
        for converted in [*converter.resample(frame), *converter.resample(None)]:
            out.mux(stream.encode(converted))
        out.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def write_audio() -> Callable[..., Path]:
    """Return a function that writes an audio file in the format of its extension."""
    return _write_audio


def _decode(file: Path | bytes, stream: int = 0, seconds: float = 3600) -> Floats:
    """Return the samples of a file's audio stream as 2 × n, at most those of its first seconds."""
    import io

    parts, count, wanted = [], 0, round(seconds * 44_100)
    with av.open(str(file) if isinstance(file, Path) else io.BytesIO(file)) as container:
        converter = AudioResampler(format="fltp", layout="stereo", rate=44_100)
        for frame in chain(container.decode(audio=stream), [None]):
            for piece in converter.resample(frame):
                parts.append(piece.to_ndarray())
                count += piece.samples
            if count >= wanted:
                break
    return np.concatenate(parts, axis=1)[:, :wanted].astype(np.float32)


@pytest.fixture(scope="session")
def decode() -> Callable[..., Floats]:
    return _decode


@pytest.fixture(scope="session")
def real_song() -> dict[str, Floats]:
    """The stems of six seconds of a song from the MUSDB18 test set, which the package `stempeg` contains."""
    package = find_spec("stempeg")
    if package is None or package.submodule_search_locations is None:
        pytest.skip("NOT TESTED: a real song, because stempeg is not installed")
    song = next(Path(package.submodule_search_locations[0]).glob("data/*.stem.mp4"))
    tracks = [_decode(song, stream) for stream in range(1, 5)]
    length = min(track.shape[1] for track in tracks)
    names = ("drums", "bass", "other", "vocals")
    return {name: track[:, :length] for name, track in zip(names, tracks, strict=True)}


@pytest.fixture(scope="session")
def short_song(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A song of half a second with tags."""
    path = tmp_path_factory.mktemp("songs") / "song.mp3"
    _write_audio(path, _tone(0.5), title="Little Song", artist="The Band")
    return path.read_bytes()


def _engine_processes(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            its_parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # the process has ended
            continue
        if b"separator.engine_process" in command and its_parent == parent:
            found.append(int(folder.name))
    return found


@pytest.fixture(scope="session")
def engine_processes() -> Callable[[int], list[int]]:
    """Return a function that lists the engine processes that a process has started."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("processes are looked up in /proc")
    return _engine_processes

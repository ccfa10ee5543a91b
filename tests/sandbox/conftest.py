"""The local Telegram on loopback, with bots of python-telegram-bot."""

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import av
import httpx
import pytest
import telegram as ptb
from av import AudioStream
from telegram.request import HTTPXRequest
from waits import WAIT_S

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import User
from sandbox.telegram.media import jpeg_from_colour
from sandbox.telegram.person_actions import Telegram


class Clock:
    """Unix seconds that change only by `advance`."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def _durations_as_timedelta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the library warns about a change of its next version."""
    monkeypatch.setenv("PTB_TIMEDELTA", "1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def is_local() -> bool:
    """Whether Telegram is in local mode; tests override it by parametrising."""
    return False


@pytest.fixture
async def tg(tmp_path: Path, clock: Clock, is_local: bool) -> AsyncIterator[Telegram]:
    state = Telegram(tmp_path / "telegram", clock=clock, local=is_local, webhook_first_pause_s=0.01)
    yield state
    await state.close()


@pytest.fixture
async def url(tg: Telegram) -> AsyncIterator[str]:
    async with run_telegram(tg, with_chat_api=True) as base:
        yield base


@pytest.fixture
async def new_bot(tg: Telegram, url: str) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that builds an initialised bot; `timeout_s` is each of its timeouts."""
    bots: list[ptb.Bot] = []

    async def build(token: str | None = None, timeout_s: float = WAIT_S, local: bool = False) -> ptb.Bot:
        def request() -> HTTPXRequest:
            return HTTPXRequest(
                read_timeout=timeout_s,
                write_timeout=timeout_s,
                connect_timeout=timeout_s,
                media_write_timeout=timeout_s,
                httpx_kwargs={
                    "trust_env": False,
                    "verify": False,
                },  # loading certificates takes long
            )

        bot = ptb.Bot(
            token or tg.token,
            base_url=f"{url}/bot",
            base_file_url=f"{url}/file/bot",
            request=request(),
            get_updates_request=request(),
            local_mode=local,
        )
        bots.append(bot)
        await bot.initialize()
        return bot

    yield build
    for bot in bots:
        await bot.shutdown()


@pytest.fixture
async def bot(new_bot: Callable[..., Any]) -> ptb.Bot:
    return await new_bot()


@pytest.fixture
def alice(tg: Telegram) -> User:
    return tg.add_user("Alice", language_code="zh-hans")


@pytest.fixture
async def api(tg: Telegram, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the Bot API: `api.post("sendMessage", json={…})`."""
    async with httpx.AsyncClient(
        base_url=f"{url}/bot{tg.token}/", trust_env=False, verify=False, timeout=WAIT_S
    ) as client:
        yield client


@pytest.fixture
async def chat(tg: Telegram, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the chat API with its key."""
    headers = {"X-Sandbox-Key": tg.access_key}
    async with httpx.AsyncClient(
        base_url=f"{url}/chat/", headers=headers, trust_env=False, verify=False
    ) as client:
        yield client


@pytest.fixture
def make_audio(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that encodes one second of silence in the format of the file's extension."""
    codecs = {".mp3": "mp3", ".m4a": "aac", ".flac": "flac", ".wav": "pcm_s16le", ".ogg": "libopus"}

    def make(name: str, *, cover: bytes | None = None, **tags: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            container.metadata.update(tags)
            stream = cast(AudioStream, container.add_stream(codecs[path.suffix], rate=48000))
            stream.layout = "stereo"
            picture = None
            if cover:
                with av.open(io.BytesIO(cover)) as source:
                    picture = container.add_stream_from_template(source.streams.video[0])
                    picture.disposition = av.stream.Disposition.attached_pic
                    packet = next(source.demux(video=0))
            frame_size = 960
            for number in range(50):
                frame = av.AudioFrame(
                    format=stream.codec_context.format.name, layout="stereo", samples=frame_size
                )
                for plane in frame.planes:
                    plane.update(bytes(plane.buffer_size))
                frame.sample_rate = 48000
                frame.pts = number * frame_size
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            if picture is not None:
                packet.stream = picture
                container.mux(packet)
        return path

    return make


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that encodes one second of video as MP4."""

    def make(name: str) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            for number in range(10):
                frame = av.VideoFrame(320, 240, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes(plane.buffer_size))
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture
def thumbnail() -> bytes:
    return jpeg_from_colour(320, 240)

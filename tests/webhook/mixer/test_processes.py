"""The mixer in a real webhook process: its memory, and what it leaves when it is killed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import av
import httpx
import pytest
from process_pool import ForkedProcess
from product import Product, until
from tones import mp3
from waits import WAIT_S

from sandbox.telegram.chats import User
from stemdrop.domain.jobs import Job
from webhook.mixer.segment_maker import SegmentMaker

from .conftest import Mixer

MIB = 1024 * 1024


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def peak_mib(pid: int) -> float:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line]
    return int(line.split()[1]) / 1024


def long_stem(path: Path, seconds: int) -> bytes:
    """Silence as FLAC: seconds of sound in few bytes."""
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=44_100, layout="stereo", format="s16")
        for _ in range(seconds):
            frame = av.AudioFrame("s16", "stereo", 44_100)
            frame.planes[0].update(bytes(frame.planes[0].buffer_size))
            frame.sample_rate = 44_100
            frame.pts = None
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.fixture
async def webhook(
    product: Product, redis_url: str, tmp_path: Path
) -> AsyncIterator[tuple[ForkedProcess, Mixer]]:
    (tmp_path / "room").mkdir()
    settings = {
        "TELEGRAM_BOT_TOKEN": product.telegram.token,
        "TELEGRAM_API_URL": product.settings.telegram_api_url,
        "SEPARATION_API_KEY": "a-key",
        "SECRET_KEY": product.settings.secret_key.get_secret_value(),
        "PUBLIC_URL": product.settings.public_url,
        "ACCESS": "open",
        "REDIS_URL": redis_url,
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": "0",
        "TMPDIR": str(tmp_path / "room"),
    }
    process = ForkedProcess(["webhook"], settings, tmp_path / "log", cwd=tmp_path)
    process.start()
    try:
        port = (await process.wait_for(r"webhook ready at port (\d+)"))[1]
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=WAIT_S
        ) as client:
            yield process, Mixer(product, client, None)  # type: ignore[arg-type]
    finally:
        await process.stop()


async def test_the_stems_of_many_songs_are_cut_in_turn(tmp_path: Path) -> None:
    source = tmp_path / "source.mp3"
    mp3(source, 3.1)

    async def cut(number: int) -> int:
        folder = tmp_path / str(number)
        await asyncio.to_thread(folder.mkdir)
        await asyncio.to_thread((folder / "source").symlink_to, source)
        return len([size async for size in maker.cut(folder)])

    maker = SegmentMaker()
    try:
        assert await asyncio.gather(*map(cut, range(50))) == [2] * 50
    finally:
        await maker.close()


async def test_a_long_stem_needs_no_memory_and_a_killed_webhook_leaves_no_process(
    webhook: tuple[ForkedProcess, Mixer], job: Job, alice: User, tmp_path: Path
) -> None:
    process, mixer = webhook
    stems = {
        "vocals": long_stem(tmp_path / "long.flac", 300),
        "instrumental": long_stem(tmp_path / "b.flac", 60),
    }
    await mixer.store(job, stems)
    token = await mixer.token(job, alice)
    assert (await mixer.segment(token, 1, 19)).status_code == 200
    (child,) = children(process.pid)
    short = peak_mib(child), peak_mib(process.pid)
    while (await mixer.segment(token, 0, 99)).status_code == 503:
        pass
    # 5 minutes decode to 50 MiB
    assert peak_mib(child) < short[0] + 12
    assert peak_mib(process.pid) < short[1] + 12
    assert len(list((tmp_path / "room").glob("stemdrop-mixer-*/*/[0-9]*.flac"))) == 120
    os.kill(process.pid, signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{child}").exists())
    await asyncio.to_thread(process.kill)
    process.start()
    await process.wait_for(r"webhook ready at port (\d+)")
    assert list((tmp_path / "room").iterdir()) == []

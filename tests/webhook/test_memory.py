"""A real webhook process under load: its memory, requests and connections stay bounded."""

import asyncio
import gzip
import itertools
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from process_pool import ForkedProcess
from product import PUBLIC_URL, SECRET

from sandbox.environment.process import Process
from stemdrop.http.signed_links import SignedLinks
from webhook.connection_limits import MAX_CONNECTIONS, MAX_REQUESTS

MIB = 1024 * 1024
HUGE = 16 * MIB
AT_ONCE = 20
PATH = urlsplit(SignedLinks(SECRET, PUBLIC_URL).callback_url("0123456789abcdef", 1)).path


class Webhook:
    """A `stemdrop webhook` process."""

    def __init__(self, process: Process, port: int) -> None:
        self.process, self.port = process, port

    def memory(self, what: str) -> float:
        """Return `VmRSS`, or the peak `VmHWM`, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith(what)]
        return int(line.split()[1]) / 1024

    def reset_peak(self) -> None:
        """Start `VmHWM` anew (proc(5), clear_refs)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    async def post(self, head: str, body: Callable[[], Iterable[bytes]], *, is_deaf: bool = False) -> int:
        """Send a body until the answer comes, or all of it if `is_deaf`; returns the status."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = asyncio.create_task(reader.readline())
        with suppress(ConnectionError):
            writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
            for part in body():
                if answer.done() and not is_deaf:
                    break
                writer.write(part)
                await writer.drain()
            if is_deaf:
                await answer
        status = int((await answer).split()[1])
        writer.transport.abort()
        return status


def undeclared() -> Iterator[bytes]:
    """Yield 16 MiB in chunks."""
    return itertools.repeat(b"10000\r\n" + b" " * 0x10000 + b"\r\n", HUGE // 0x10000)


def whole() -> list[bytes]:
    """Return bodies of up to 1 MiB that need the most work or the most memory, or mean nothing."""
    task = '"data": {"task_id": "task-1", "vocal_removal_info": '
    urls = {f"s{number}_url": "https://cdn.example/s.mp3" for number in range(20_000)}
    texts = [
        '{"code": 200, ' + task + json.dumps(urls) + "}}",
        '{"code": 200, ' + task + "[" * 500_000 + "]" * 500_000,
        "[" + "[]," * 340_000 + "[]]",
        "[" + '{"":{}},' * 130_000 + "{}]",
        '{"code": 1' + "0" * 5_000 + "}",
        "[" + ("9" * 4_000 + ",") * 250 + "1]",
        "\x00" * MIB,
    ]
    plain = [text.encode() for text in texts]
    return [
        *plain,
        texts[0][:200_000].encode("utf-16"),
        ("é" * MIB).encode("latin-1"),
        gzip.compress(bytes(MIB)),
    ]


async def pour(webhook: Webhook) -> Counter[int]:
    """Send bodies of 16 MiB, half of them in chunks, and each whole one; returns the statuses."""
    posts: list[Callable[[], Awaitable[int]]] = [
        partial(webhook.post, head, undeclared)
        for head in (f"Content-Length: {HUGE}", "Transfer-Encoding: chunked")
        for _ in range(AT_ONCE // 2)
    ]
    posts.append(partial(webhook.post, "Transfer-Encoding: chunked", undeclared, is_deaf=True))
    for body in whole():
        posts.append(partial(webhook.post, f"Content-Length: {len(body)}", partial(iter, [body])))
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(post: Callable[[], Awaitable[int]]) -> int:
        async with slots:
            return await post()

    return Counter(await asyncio.gather(*(one(post) for post in posts)))


@pytest.fixture
async def webhook(redis_url: str, tmp_path: Path) -> AsyncIterator[Webhook]:
    settings = {
        "TELEGRAM_BOT_TOKEN": "1:a-token",
        "SEPARATION_API_KEY": "a-key",
        "SECRET_KEY": SECRET,
        "PUBLIC_URL": PUBLIC_URL,
        "REDIS_URL": redis_url,
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": "0",
    }
    process = ForkedProcess(["webhook"], settings, tmp_path / "log", cwd=tmp_path)
    process.start()
    try:
        ready = await process.wait_for(r"webhook ready at port (\d+)")
        yield Webhook(process, int(ready[1]))
    finally:
        await process.stop()


@asynccontextmanager
async def connections(webhook: Webhook, count: int, data: bytes = b"") -> AsyncIterator[None]:
    """So many connections over which `data` was sent."""
    writers = [(await asyncio.open_connection("127.0.0.1", webhook.port))[1] for _ in range(count)]
    for writer in writers:
        writer.write(data)
    yield
    for writer in writers:
        writer.transport.abort()


async def test_a_webhook_bounds_its_memory_requests_and_connections(webhook: Webhook) -> None:
    await pour(webhook)
    before = webhook.memory("VmRSS")
    webhook.reset_peak()
    answers = await pour(webhook)
    assert answers == {413: AT_ONCE + 1, 422: len(whole())}
    assert webhook.memory("VmRSS") < before + 24
    # each of 20 requests at once holds at most 1 MiB and the buffers to read it
    assert webhook.memory("VmHWM") < before + 80
    post = partial(webhook.post, "Content-Length: 2", partial(iter, [b"{}"]))
    async with connections(webhook, MAX_CONNECTIONS + 50):
        assert await post() == 422
        assert len(os.listdir(f"/proc/{webhook.process.pid}/fd")) < MAX_CONNECTIONS + 50
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    async with connections(webhook, MAX_REQUESTS, head.encode()), asyncio.timeout(120):
        while (status := await post()) != 503:
            assert status == 422
    async with asyncio.timeout(120):
        while (status := await post()) != 422:
            assert status == 503
    assert "Traceback" not in webhook.process.output()

"""A real webhook process keeps its memory and its connections, whatever is poured into it."""

import asyncio
import gzip
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from product import PUBLIC_URL, SECRET

from sandbox.environment.process import Process
from stemdrop.http.signed_links import SignedLinks
from webhook.run import MAX_CONNECTIONS
from webhook.slow_clients import PATIENCE_S

MIB = 1024 * 1024
HUGE = 50 * MIB
AT_ONCE = 20
PATH = urlsplit(SignedLinks(SECRET, PUBLIC_URL).callback_url("0123456789abcdef", 1)).path


class Webhook:
    """`stemdrop webhook`, as the system and its clients see it."""

    def __init__(self, process: Process, port: int) -> None:
        self.process, self.port = process, port

    def memory(self, what: str) -> float:
        """`VmRSS`, or `VmHWM` for the most there has been, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith(what)]
        return int(line.split()[1]) / 1024

    def forget_most(self) -> None:
        """From now on `VmHWM` counts anew (proc(5), clear_refs)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    async def post(self, head: str, body: Callable[[], Iterable[bytes]], *, is_deaf: bool = False) -> int:
        """Send until there is an answer (deaf: to the end); its status."""
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
    """50 MiB in chunks."""
    return itertools.repeat(b"10000\r\n" + b" " * 0x10000 + b"\r\n", HUGE // 0x10000)


def whole() -> list[bytes]:
    """Bodies of up to 1 MiB that mean the most work, or the most memory, or nothing."""
    task = '"data": {"task_id": "task-1", "vocal_removal_info": '
    urls = {f"s{number}_url": "https://cdn.example/s.mp3" for number in range(20_000)}
    translations = [
        '{"code": 200, ' + task + json.dumps(urls) + "}}",
        '{"code": 200, ' + task + "[" * 500_000 + "]" * 500_000,
        "[" + "[]," * 340_000 + "[]]",
        "[" + '{"":{}},' * 130_000 + "{}]",
        '{"code": 1' + "0" * 5_000 + "}",
        "[" + ("9" * 4_000 + ",") * 250 + "1]",
        "\x00" * MIB,
    ]
    plain = [text.encode() for text in translations]
    return [
        *plain,
        translations[0][:200_000].encode("utf-16"),
        ("é" * MIB).encode("latin-1"),
        gzip.compress(bytes(MIB)),
    ]


async def pour(webhook: Webhook, huge: int, rounds: int) -> Counter[int]:
    """So many bodies of 50 MiB, half of them undeclared, and so often each whole one; the statuses."""
    posts: list[Callable[[], Awaitable[int]]] = [
        partial(webhook.post, head, undeclared)
        for head in (f"Content-Length: {HUGE}", "Transfer-Encoding: chunked")
        for _ in range(huge // 2)
    ]
    posts.append(partial(webhook.post, "Transfer-Encoding: chunked", undeclared, is_deaf=True))
    for body in whole() * rounds:
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
    process = Process(["webhook"], settings, tmp_path / "log", cwd=tmp_path)
    process.start()
    try:
        ready = await process.wait_for(r"webhook ready at port (\d+)")
        yield Webhook(process, int(ready[1]))
    finally:
        await process.stop()


@pytest.fixture
async def idle(webhook: Webhook) -> AsyncIterator[asyncio.StreamReader]:
    """What comes back on a connection over which half a head was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", webhook.port)
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    yield reader
    writer.close()


async def test_it_keeps_its_memory_and_keeps_nobody_idle(
    webhook: Webhook, idle: asyncio.StreamReader
) -> None:
    await pour(webhook, huge=AT_ONCE, rounds=1)
    before = webhook.memory("VmRSS")
    webhook.forget_most()
    answers = await pour(webhook, huge=100, rounds=2)
    assert answers == {413: 101, 422: 2 * len(whole())}
    assert webhook.memory("VmRSS") < before + 24
    # of 20 at once none holds more than 1 MiB and what it is read by
    assert webhook.memory("VmHWM") < before + 80
    await check_its_limit(webhook)
    async with asyncio.timeout(6 * PATIENCE_S):
        with suppress(ConnectionResetError):
            assert await idle.read() == b""
    assert "Traceback" not in webhook.process.output()


async def check_its_limit(webhook: Webhook) -> None:
    """Over so many connections they are told to come again, and under them all is as before."""
    small = partial(iter, [b"{}"])
    connections = [await asyncio.open_connection("127.0.0.1", webhook.port) for _ in range(MAX_CONNECTIONS)]
    assert await webhook.post("Content-Length: 2", small) == 503
    for _, writer in connections:
        writer.transport.abort()
    async with asyncio.timeout(20):
        while (status := await webhook.post("Content-Length: 2", small)) == 503:
            pass
    assert status == 422

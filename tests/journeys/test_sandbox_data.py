"""`stemdrop sandbox --data DIR`: chats, songs and jobs go on after a kill and after Ctrl-C."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from kinds import KINDS, record
from process_pool import ForkedProcess, ForkingProcess
from product import until

from sandbox.environment.database import Database
from sandbox.environment.process import Process
from sandbox.telegram.saved_state import open_telegram
from stemdrop import cli


class Page:
    """The chat API of a running sandbox, at the address that it printed."""

    def __init__(self, address: str) -> None:
        self.address = address
        url, key = address.split("/#")
        self.http = httpx.AsyncClient(base_url=f"{url}/chat/", headers={"X-Sandbox-Key": key}, timeout=120)

    async def call(self, method: str, path: str, **options: Any) -> Any:
        answer = await self.http.request(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json()

    async def wait_for(self, chat_id: int, found: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Return the first message for which `found` is true at any time of this run."""
        after = 0
        async with asyncio.timeout(120):
            while True:
                events = await self.call("GET", f"{chat_id}/events", params={"after": after, "timeout": 30})
                after = events["last_event"]
                for event in events["events"]:
                    if found(event["content"]):
                        return dict(event["content"])

    async def send(self, chat_id: int, name: str, song: bytes) -> dict[str, Any]:
        return dict(await self.call("POST", f"{chat_id}/files", files={"file": (name, song)}))

    async def tap(self, chat_id: int, message: dict[str, Any], label: str) -> None:
        [data] = [
            button["callback_data"]
            for row in message["reply_markup"]["inline_keyboard"]
            for button in row
            if label in button["text"]
        ]
        await self.call(
            "POST", f"{chat_id}/taps", json={"message_id": message["message_id"], "callback_data": data}
        )


@asynccontextmanager
async def running(folder: Path, command: type[Process]) -> AsyncIterator[tuple[Process, Page]]:
    variables = {"PATH": os.environ["PATH"], "ENGINE": "light", "PYTHONUNBUFFERED": "1"}
    process = command(["sandbox", "--data", "kept"], variables, folder / "log", cwd=folder)
    process.start()
    try:
        address = await process.wait_for(r"Open (\S+)\n")
        await process.wait_for("kept keeps everything for the next start")
        page = Page(address.group(1))
        async with page.http:
            yield process, page
    finally:
        await process.stop()


def answer_to(sent: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
    def is_answer(message: dict[str, Any]) -> bool:
        original = message.get("reply_to_message", {})
        return "reply_markup" in message and original.get("message_id") == sent["message_id"]

    return is_answer


async def test_it_goes_on_after_a_kill_and_after_ctrl_c(song: Path, tmp_path: Path) -> None:
    songs = [record(song, tmp_path / "song.mp3", KINDS["mp3"], 3).read_bytes()]
    songs.append(songs[0] + bytes(500))  # another song for the bot
    # what it starts ends with it although it is killed
    async with running(tmp_path, ForkedProcess) as (process, page):
        ann = (await page.call("POST", "users", json={"first_name": "Ann", "language_code": "en"}))["id"]
        group = {"title": "Band", "member_ids": [ann], "forum": True}
        forum = (await page.call("POST", "groups", json=group))["id"]
        await page.call("POST", f"{forum}/topics", json={"name": "Mixes"})
        sent = [await page.send(ann, f"{number}.mp3", data) for number, data in enumerate(songs)]
        menus = [await page.wait_for(ann, answer_to(message)) for message in sent]
        await page.tap(ann, menus[0], "Vocals")
        await page.wait_for(ann, lambda message: "Splitting" in message.get("text", ""))
        # a song whose create call loses its answer to the kill is not separated again
        await until(lambda: ": accepted by " in (tmp_path / "kept/up.log").read_text())
        before = await page.call("GET", "chats")
        process.kill()

    async with running(tmp_path, ForkingProcess) as (process, again):
        assert again.address == page.address
        after = await again.call("GET", "chats")
        position = before.pop("position")
        assert after.pop("position") != position
        assert after == before
        assert (await again.http.get(f"files/{sent[0]['audio']['file_id']}")).content == songs[0]
        resumed = again.http.stream("GET", "events", headers={"Last-Event-ID": position})
        async with resumed as events:
            lines = events.aiter_lines()
            assert "event: restarted" in [await anext(lines) for _ in range(4)]
        await again.wait_for(ann, lambda message: "(Instrumental)" in str(message))
        await again.tap(ann, menus[1], "All stems")
        drums = await again.wait_for(ann, lambda message: "(Drums)" in str(message))
        await again.call("DELETE", f"{ann}/messages/{sent[1]['message_id']}")
        os.kill(process.pid, signal.SIGINT)
        assert await process.wait(200) == 128 + signal.SIGINT, process.output()

    with closing(Database(tmp_path / "kept")) as database:
        telegram = open_telegram(database, tmp_path / "kept/telegram")
        kept = [message.message_id for message in telegram.messages(ann)]
        assert {sent[0]["message_id"], drums["message_id"]} <= set(kept)
        assert telegram.files.get(sent[1]["audio"]["file_id"]) is None
    contents = [path.read_bytes() for path in (tmp_path / "kept/telegram/contents").glob("*")]
    assert [contents.count(data) for data in songs] == [1, 0]


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sandbox.sqlite3").write_bytes(b"something else" * 100)
    (tmp_path / "file").touch()
    listening = ["--listen", "127.0.0.1:0"]
    for arguments, reason in (
        (["--data", str(tmp_path)], "sandbox.sqlite3 is damaged"),
        (["--data", str(tmp_path), *listening], "sandbox.sqlite3 is damaged"),
        (["--data", str(tmp_path / "file"), *listening], "cannot be used"),
        (["--data", str(tmp_path), "--song", __file__], "--data goes with the page or with --listen"),
    ):
        assert cli.run(["sandbox", *arguments], {}) == 1
        output, errors = capsys.readouterr()
        assert (output, errors.count("\n")) == ("", 1)
        assert reason in errors

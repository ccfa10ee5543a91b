"""Injected faults become the right errors of python-telegram-bot."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import telegram as ptb

from sandbox.telegram.chats import User
from sandbox.telegram.faults import DOWNLOAD, FaultKind
from sandbox.telegram.person_actions import Telegram

NewBot = Callable[..., Awaitable[ptb.Bot]]
Maker = Callable[..., Path]


ERRORS: dict[FaultKind, type[ptb.error.TelegramError]] = {
    FaultKind.TOO_MANY_REQUESTS: ptb.error.RetryAfter,
    FaultKind.SERVER_ERROR: ptb.error.NetworkError,
    FaultKind.BAD_GATEWAY: ptb.error.NetworkError,
    FaultKind.BLOCKED: ptb.error.Forbidden,
    FaultKind.RESET_BEFORE: ptb.error.NetworkError,
}


async def test_a_fault_before_the_call_happens_once_and_has_no_effect(
    bot: ptb.Bot, tg: Telegram, alice: User
) -> None:
    for kind, error in ERRORS.items():
        fault = tg.faults.add(kind, method="sendMessage", retry_after_s=17)
        with pytest.raises(error) as met:
            await bot.send_message(alice.id, "lost")
        assert not isinstance(met.value, ptb.error.TimedOut)
        if isinstance(met.value, ptb.error.RetryAfter):
            assert met.value.retry_after.total_seconds() == 17
        assert (fault.hits, tg.calls[-1].fault) == (1, kind.value)
        await bot.send_message(alice.id, kind.value)
    assert [message.text for message in tg.messages(alice.id)] == [kind.value for kind in ERRORS]
    assert tg.flood_refusals == 0


@pytest.mark.parametrize(
    ("kind", "is_done"), [(FaultKind.TIMEOUT_BEFORE, False), (FaultKind.TIMEOUT_AFTER, True)]
)
async def test_a_timeout_before_or_after_the_effect(
    bot: ptb.Bot, tg: Telegram, alice: User, *, kind: FaultKind, is_done: bool
) -> None:
    tg.faults.add(kind)
    with pytest.raises(ptb.error.TimedOut):
        await bot.send_message(alice.id, "perhaps", read_timeout=0.3)
    await tg.wait_for(lambda: tg.calls[-1].fault == kind.value)
    assert bool(tg.messages(alice.id)) is is_done


async def test_a_reset_after_the_effect(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    tg.faults.add(FaultKind.RESET_AFTER)
    with pytest.raises(ptb.error.NetworkError) as met:
        await bot.send_message(alice.id, "done")
    assert not isinstance(met.value, ptb.error.TimedOut)
    assert [message.text for message in tg.messages(alice.id)] == ["done"]


async def test_a_reset_in_the_middle_of_an_upload(
    bot: ptb.Bot, tg: Telegram, alice: User, tmp_path: Path
) -> None:
    path = tmp_path / "big.wav"
    path.write_bytes(bytes(8_000_000))
    tg.faults.add(FaultKind.RESET_MID_UPLOAD, method="sendDocument")
    with pytest.raises(ptb.error.NetworkError) as met:
        await bot.send_document(alice.id, path)
    assert not isinstance(met.value, ptb.error.TimedOut)
    assert tg.messages(alice.id) == []
    await bot.send_document(alice.id, path)
    assert len(tg.messages(alice.id)) == 1


async def test_faults_can_be_limited_to_a_chat_and_repeated(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    bob = tg.add_user("Bob")
    tg.faults.add(FaultKind.SERVER_ERROR, chat_id=alice.id, times=2)
    await bot.send_message(bob.id, "fine")
    for _ in range(2):
        with pytest.raises(ptb.error.NetworkError):
            await bot.send_message(alice.id, "not yet")
    await bot.send_message(alice.id, "now")
    tg.faults.add(FaultKind.SERVER_ERROR, times=None)
    assert await bot.get_updates() == ()
    with pytest.raises(ptb.error.NetworkError):
        await bot.get_me()
    tg.faults.clear()
    await bot.get_me()


async def test_a_file_that_is_gone(bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker) -> None:
    song = await tg.send_file(alice.id, make_audio("a.mp3"))
    assert song.media is not None
    file = await bot.get_file(song.media["file_id"])
    for kind, words in (
        (FaultKind.FILE_GONE, "file_id"),
        (FaultKind.FILE_UNAVAILABLE, "temporarily unavailable"),
    ):
        tg.faults.add(kind, method="getFile")
        with pytest.raises(ptb.error.BadRequest, match=words):
            await bot.get_file(song.media["file_id"])
    tg.faults.add(FaultKind.FILE_GONE, method=DOWNLOAD)
    with pytest.raises(ptb.error.InvalidToken):  # the library's error for a 404
        await file.download_as_bytearray()
    assert await file.download_as_bytearray()
    records = [(record.name, record.status, record.fault) for record in tg.records.after(0)]
    assert records[-2:] == [(DOWNLOAD, 404, "file_gone"), (DOWNLOAD, 200, None)]


async def test_a_slow_answer_and_missing_rights(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    tg.faults.add(FaultKind.SLOW_ANSWER, delay_s=0.3)
    with pytest.raises(ptb.error.TimedOut):
        await bot.send_message(alice.id, "late", read_timeout=0.05)
    await tg.wait_for(lambda: [message.text for message in tg.messages(alice.id)] == ["late"])
    for send, what in (
        (bot.send_message(alice.id, "no"), "text messages"),
        (bot.send_audio(alice.id, b"no"), "music"),
    ):
        tg.faults.add(FaultKind.NO_RIGHTS)
        with pytest.raises(ptb.error.BadRequest, match=f"[Nn]ot enough rights to send {what}"):
            await send


async def test_downloads_with_ranges_head_resets_and_slowly(
    url: str, tg: Telegram, alice: User, make_audio: Maker
) -> None:
    path = make_audio("a.mp3")
    song = await tg.send_file(alice.id, path)
    assert song.media is not None
    address = f"{url}/file/bot{tg.token}/{tg.file(song.media['file_id']).file_path}"
    content = path.read_bytes()
    async with httpx.AsyncClient(trust_env=False) as client:
        head = await client.head(address)
        assert (head.headers["content-length"], head.headers["accept-ranges"]) == (str(len(content)), "bytes")
        part = await client.get(address, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, content[10:20])
        assert (await client.get(address, headers={"Range": f"bytes={len(content)}-"})).status_code == 416
        tg.faults.add(FaultKind.RESET_MID_DOWNLOAD)
        async with client.stream("GET", address) as answer:
            with pytest.raises(httpx.TransportError):
                await answer.aread()
            assert answer.headers["content-length"] == str(len(content))
        tg.faults.add(FaultKind.SLOW, bytes_per_s=len(content) * 10)
        started = asyncio.get_running_loop().time()
        assert (await client.get(address)).content == content
        assert asyncio.get_running_loop().time() - started >= 0.09


async def test_held_requests_and_polls_end_when_the_sandbox_closes(
    new_bot: NewBot, tg: Telegram, alice: User
) -> None:
    bot = await new_bot()
    tg.faults.add(FaultKind.TIMEOUT_BEFORE, method="sendMessage")
    held = asyncio.create_task(bot.send_message(alice.id, "held"))
    polling = asyncio.create_task(bot.get_updates(timeout=60))
    await tg.wait_for(lambda: tg.updates.is_awaited and tg.calls[-1].fault == "timeout_before")
    await tg.close()
    with pytest.raises(ptb.error.NetworkError):
        await held
    assert await polling == ()

"""Updates reach the bot by long polling with confirmation, or by a webhook with a secret."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import telegram as ptb
from fastapi import FastAPI, Request, Response

from sandbox.environment.server import serve
from sandbox.telegram.chats import User
from sandbox.telegram.errors import PersonError
from sandbox.telegram.person_actions import Telegram

NewBot = Callable[..., Awaitable[ptb.Bot]]


async def test_updates_stay_until_confirmed_by_an_offset(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    for text in ("one", "two", "three"):
        tg.send_text(alice.id, text)
    first = await bot.get_updates(limit=2)
    again = await bot.get_updates(limit=2)
    assert [update.update_id for update in first] == [update.update_id for update in again]
    rest = await bot.get_updates(offset=first[-1].update_id + 1)
    assert [update.effective_message.text for update in rest] == ["three"]
    assert len(tg.updates.pending) == 1
    assert await bot.get_updates(offset=rest[-1].update_id + 1) == ()


async def test_a_negative_offset_returns_the_last_updates_and_drops_the_others(
    bot: ptb.Bot, tg: Telegram, alice: User
) -> None:
    for text in ("one", "two", "three"):
        tg.send_text(alice.id, text)
    assert [update.effective_message.text for update in await bot.get_updates(offset=-1)] == ["three"]


async def test_a_long_poll_answers_when_an_update_comes(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    poll = asyncio.create_task(bot.get_updates(timeout=60))
    await tg.wait_for(lambda: tg.updates.is_awaited)
    tg.send_text(alice.id, "now")
    (update,) = await poll
    assert update.effective_message.text == "now"


async def test_the_older_of_two_pollers_gets_a_conflict(new_bot: NewBot, tg: Telegram, alice: User) -> None:
    older, newer = await new_bot(), await new_bot()
    first = asyncio.create_task(older.get_updates(timeout=60))
    await tg.wait_for(lambda: tg.updates.is_awaited)
    second = asyncio.create_task(newer.get_updates(timeout=60))
    with pytest.raises(ptb.error.Conflict, match="terminated by other getUpdates"):
        await first
    tg.send_text(alice.id, "hello")
    assert len(await second) == 1


async def test_a_poll_ends_when_its_client_disconnects(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    poll = asyncio.create_task(bot.get_updates(timeout=60))
    await tg.wait_for(lambda: tg.updates.is_awaited)
    poll.cancel()
    await tg.wait_for(lambda: not tg.updates.is_awaited)
    tg.send_text(alice.id, "kept")
    assert len(await bot.get_updates()) == 1


async def test_allowed_updates_hold_until_given_again(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    await bot.get_updates(allowed_updates=["callback_query"])
    tg.send_text(alice.id, "dropped")
    await bot.get_updates()
    tg.send_text(alice.id, "dropped too")
    assert tg.updates.pending == []
    await bot.get_updates(allowed_updates=[])
    tg.send_text(alice.id, "queued")
    assert len(tg.updates.pending) == 1


async def test_edits_blocks_and_migrations_are_updates(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    typo = tg.send_text(alice.id, "helo")
    tg.edit_text(alice.id, typo.message_id, "hello")
    tg.block_bot(alice.id)
    tg.send_text(alice.id, "a blocked bot gets no update")
    tg.unblock_bot(alice.id)
    group = tg.add_group("Band", [alice])
    new = tg.migrate_group(group.id)
    _, edited, blocked, unblocked, moved, arrived = await bot.get_updates(timeout=10)
    assert edited.edited_message is not None
    assert edited.edited_message.text == "hello"
    assert blocked.my_chat_member is not None
    assert isinstance(blocked.my_chat_member.new_chat_member, ptb.ChatMemberBanned)
    assert unblocked.my_chat_member is not None
    assert isinstance(unblocked.my_chat_member.new_chat_member, ptb.ChatMemberMember)
    assert moved.message is not None
    assert moved.message.migrate_to_chat_id == new.id
    assert arrived.message is not None
    assert arrived.message.migrate_from_chat_id == group.id


class Receiver:
    """A webhook that stores the updates and answers with `statuses`."""

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []
        self.secrets: list[str | None] = []
        self.statuses: list[int] = []  # of the first answers; then 200
        self.arrived = asyncio.Condition()
        self.url = ""

    async def take(self, request: Request) -> Response:
        async with self.arrived:
            self.updates.append(await request.json())
            self.secrets.append(request.headers.get("X-Telegram-Bot-Api-Secret-Token"))
            self.arrived.notify_all()
        return Response(status_code=self.statuses.pop(0) if self.statuses else 200)

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(120), self.arrived:
            await self.arrived.wait_for(lambda: len(self.updates) >= count)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver, app = Receiver(), FastAPI()
    app.add_api_route("/hook", receiver.take, methods=["POST"])
    async with serve(app) as base:
        receiver.url = f"{base}/hook"
        yield receiver


async def test_a_webhook_gets_updates_in_order_with_the_secret_until_2xx(
    bot: ptb.Bot, tg: Telegram, alice: User, receiver: Receiver
) -> None:
    receiver.statuses = [500, 503]
    await bot.set_webhook(receiver.url, secret_token="s3cret_-", max_connections=5)
    tg.send_text(alice.id, "one")
    await receiver.wait(2)
    info = await bot.get_webhook_info()
    assert (info.url, info.max_connections) == (receiver.url, 5)
    assert info.last_error_message is not None
    assert info.last_error_message.startswith("Wrong response from the webhook: 50")
    tg.send_text(alice.id, "two")
    await receiver.wait(4)
    assert [update["message"]["text"] for update in receiver.updates] == ["one", "one", "one", "two"]
    assert set(receiver.secrets) == {"s3cret_-"}
    await tg.wait_for(lambda: not tg.updates.pending)
    assert (await bot.get_webhook_info()).pending_update_count == 0


async def test_polling_while_a_webhook_is_set_is_a_conflict(
    bot: ptb.Bot, tg: Telegram, alice: User, receiver: Receiver
) -> None:
    await bot.set_webhook(receiver.url)
    with pytest.raises(ptb.error.Conflict, match="webhook is active"):
        await bot.get_updates()
    await bot.delete_webhook()
    tg.send_text(alice.id, "kept")
    assert (await bot.get_webhook_info()).pending_update_count == 1
    assert len(await bot.get_updates()) == 1
    await bot.delete_webhook(drop_pending_updates=True)
    assert tg.updates.pending == []


async def test_in_privacy_mode_the_bot_gets_only_messages_addressed_to_it(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Callable[..., Any]
) -> None:
    tg.has_privacy_mode = True
    group = tg.add_group("Band", [alice])
    said = await bot.send_message(group.id, "hello")
    song = await tg.send_file(group.id, make_audio("song.mp3"))
    tg.send_text(group.id, "who has the new song?")
    tg.send_text(group.id, "/stems", reply_to=song.message_id)
    tg.send_text(group.id, f"@{tg.bot.username} this one")
    tg.send_text(group.id, "thanks", reply_to=said.message_id)
    received = [update.effective_message for update in await bot.get_updates()]
    assert [message.text for message in received] == ["/stems", f"@{tg.bot.username} this one", "thanks"]
    assert received[0].reply_to_message.audio is not None
    assert (await bot.get_me()).can_read_all_group_messages is False


async def test_posts_and_edits_in_channels_are_updates_without_a_user(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Callable[..., Any]
) -> None:
    bob = tg.add_user("Bob")
    channel = tg.add_channel("Label", alice, [bob])
    song = await tg.send_file(channel.id, make_audio("song.mp3"), caption="new")
    tg.edit_text(channel.id, song.message_id, "newest")
    posted, edited = await bot.get_updates()
    assert posted.channel_post is not None
    assert posted.channel_post.audio is not None
    assert posted.channel_post.sender_chat is not None
    assert (posted.effective_user, posted.channel_post.sender_chat.id) == (None, channel.id)
    assert edited.edited_channel_post is not None
    assert edited.edited_channel_post.caption == "newest"
    with pytest.raises(PersonError, match="only administrators post"):
        tg.send_text(channel.id, "me too", user_id=bob.id)
    sent = await bot.send_message(channel.id, "hello")
    assert (sent.from_user, sent.chat.type) == (None, "channel")


@pytest.mark.parametrize("place", ["private", "supergroup", "channel"])
async def test_a_reply_to_a_message_of_another_chat_carries_its_file(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Callable[..., Any], place: str
) -> None:
    elsewhere = {
        "private": alice.id,
        "supergroup": tg.add_group("Rehearsals", [alice], supergroup=True).id,
        "channel": tg.add_channel("Label", alice).id,
    }[place]
    song = await tg.send_file(elsewhere, make_audio("song.mp3"), caption="new")
    group = tg.add_group("Band", [alice])
    tg.send_text(group.id, "/stems", reply_to=song.message_id, reply_chat_id=elsewhere)
    reply = (await bot.get_updates())[-1].message
    assert reply is not None
    external = reply.external_reply
    assert (reply.reply_to_message, reply.text) == (None, "/stems")
    assert external is not None
    assert external.audio is not None
    assert song.media is not None
    assert external.audio.file_id == song.media["file_id"]
    shown = None if place == "private" else elsewhere
    assert (external.chat.id if external.chat else None, bool(external.message_id)) == (shown, bool(shown))

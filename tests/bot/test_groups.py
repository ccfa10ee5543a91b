"""In groups a song is answered on request, or when the group has set that all are answered."""

from pathlib import Path
from typing import Any

import pytest
from product import BotRoom, open_product, result_of
from recordings import record

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Chat, Message, User
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.jobs import Failure, Job, JobState, Obstacle

BOT = "stemdrop_sandbox_bot"
RESULT = result_of({"vocals": "https://stems.example/vocals.mp3"})
HOW = f"In groups I split a song when you ask: reply to it with /stems@{BOT}"


@pytest.fixture
def bob(room: BotRoom) -> User:
    return room.telegram.add_user("Bob")


@pytest.fixture
def group(room: BotRoom, alice: User, bob: User) -> Chat:
    """Alice's group, with Bob in it."""
    return room.telegram.add_group("Band", [alice, bob])


@pytest.fixture
async def sent(room: BotRoom, alice: User, group: Chat, song: Path) -> Message:
    """Alice's song in the group, which has not been requested yet."""
    sent = await room.sends(alice, song, chat_id=group.id)
    assert room.after(sent) == []
    return sent


async def test_a_song_without_a_request_is_ignored(
    room: BotRoom, alice: User, sent: Message, song: Path
) -> None:
    await room.sends(alice, song, chat_id=sent.chat.id, caption="our new one, what does @drummer say?")
    assert room.after(sent) == []
    assert await room.product.jobs(alice.id) == []
    assert not [call for call in room.telegram.calls if call.method.startswith("send")]


async def test_a_reply_requests_a_song_and_its_sender_owns_the_job(
    room: BotRoom, alice: User, bob: User, sent: Message
) -> None:
    (menu,) = await room.says(bob, "/stems", chat_id=sent.chat.id, reply_to=sent.message_id)
    assert len(menu.buttons) == 4
    assert menu.reply_to is sent
    (job,) = await room.product.jobs(bob.id)
    assert (job.user_id, job.account, job.source_message_id) == (bob.id, bob.id, sent.message_id)
    assert await room.product.jobs(alice.id) == []
    query = await room.taps(menu, 0, alice)
    assert query.answer_text
    assert (await room.product.job(job.id)).state is JobState.CHOOSING
    await room.taps(menu, 0, bob)
    assert (await room.product.job(job.id)).state is JobState.SUBMITTING


async def test_a_reply_names_the_bot_or_its_command(room: BotRoom, bob: User, sent: Message) -> None:
    for words in (
        f"/stems@{BOT}",
        f"/STEMS@{BOT.upper()} please",
        f"@{BOT}",
        f"please, @{BOT}, take it apart",
        f"(@{BOT})",
        "could you /stems this?",
    ):
        shown = await room.says(bob, words, chat_id=sent.chat.id, reply_to=sent.message_id)
        assert [(len(menu.buttons), menu.reply_to) for menu in shown] == [(4, sent)], words


async def test_other_replies_request_nothing(room: BotRoom, bob: User, sent: Message) -> None:
    for words in (
        *("nice!", "/stems@another_bot", f"mail me: someone@{BOT}"),
        *(f"@{BOT}2", "http://x.org/stems", "/stemsx"),
    ):
        assert await room.says(bob, words, chat_id=sent.chat.id, reply_to=sent.message_id) == [], words
    assert await room.product.jobs(bob.id) == []


async def test_a_caption_requests_its_own_song(room: BotRoom, alice: User, group: Chat, song: Path) -> None:
    for number, caption in enumerate(("/stems", f"here, @{BOT}", f"/stems@{BOT}"), 1):
        menu = await room.menu(alice, song, chat_id=group.id, caption=caption)
        assert len(menu.buttons) == 4, caption
        jobs = await room.product.jobs(alice.id)
        assert [(job.chat_id, job.topic_id) for job in jobs] == [(group.id, 0)] * number


async def test_every_kind_of_audio_is_taken_on_request(
    room: BotRoom, bob: User, group: Chat, tmp_path: Path
) -> None:
    voice = await room.sends(bob, record(tmp_path / "a.ogg", seconds=2), chat_id=group.id, kind="voice")
    (menu,) = await room.says(bob, "/stems", chat_id=group.id, reply_to=voice.message_id)
    assert "Voice message" in menu.text


async def test_a_repeated_request_is_one_job_and_two_requests_are_two(
    room: BotRoom, alice: User, bob: User, sent: Message
) -> None:
    room.telegram.send_text(sent.chat.id, "/stems", user_id=bob.id, reply_to=sent.message_id)
    (update,) = room.telegram.updates.pending
    await room.handle()
    room.telegram.updates.add("message", update["message"])
    await room.handle()
    assert len(await room.product.jobs(bob.id)) == 1
    assert len(room.telegram.bot_messages(sent.chat.id)) == 1
    await room.says(alice, "/stems", chat_id=sent.chat.id, reply_to=sent.message_id)
    assert len(await room.product.jobs(alice.id)) == 1
    assert len(await room.product.jobs(bob.id)) == 1
    assert len(room.telegram.bot_messages(sent.chat.id)) == 2


@pytest.mark.parametrize("topic", ["Demos", None])
async def test_replies_stay_in_the_topic_including_general(
    room: BotRoom, alice: User, song: Path, topic: str | None
) -> None:
    forum = room.telegram.add_group("Band", [alice], forum=True)
    thread_id = room.telegram.add_topic(forum.id, topic) if topic else None
    sent = await room.sends(alice, song, chat_id=forum.id, thread_id=thread_id)
    assert room.after(sent) == []
    asked = {"chat_id": forum.id, "thread_id": thread_id}
    (menu,) = await room.says(alice, "/stems", reply_to=sent.message_id, **asked)
    assert (menu.thread_id, menu.reply_to) == (thread_id, sent)
    (explained,) = await room.says(alice, "/stems", **asked)
    assert explained.thread_id == thread_id
    job = (await room.product.jobs(alice.id))[0]
    assert job.topic_id == (thread_id or 0)
    await room.presses(menu, "Vocals", alice)
    assert menu.text.startswith("⏳")


async def test_a_request_without_a_song_is_told_how_to_ask(
    room: BotRoom, bob: User, group: Chat, tmp_path: Path
) -> None:
    text = room.telegram.send_text(group.id, "listen to this", user_id=bob.id)
    for words, reply_to in (("/stems", None), ("/stems", text.message_id), (f"@{BOT} hello", None)):
        (answer,) = await room.says(bob, words, chat_id=group.id, reply_to=reply_to)
        assert answer.text.startswith(HOW)
    assert await room.says(bob, f"you could ask @{BOT} for that", chat_id=group.id) == []
    paper = tmp_path / "notes.txt"
    paper.write_text("la la la")
    sent = await room.sends(bob, paper, chat_id=group.id, caption="/stems")
    (answer,) = room.after(sent)
    assert answer.text == "Send me a song, or reply to one with /stems."
    sent = await room.sends(bob, paper, chat_id=group.id)
    assert room.after(sent) == []


async def test_an_unusable_song_is_told_to_its_requester(
    room: BotRoom, bob: User, group: Chat, tmp_path: Path
) -> None:
    paper = tmp_path / "paper.mp3"
    paper.write_text("la la la")
    sent = await room.sends(bob, paper, chat_id=group.id, kind="document")
    (answer,) = await room.says(bob, "/stems", chat_id=group.id, reply_to=sent.message_id)
    assert answer.text.startswith("I can't find any sound")


async def test_only_admins_of_the_group_change_its_setting(
    room: BotRoom, alice: User, bob: User, group: Chat, song: Path, tmp_path: Path
) -> None:
    (shown,) = await room.says(bob, "/stems", chat_id=group.id)
    assert "I answer only when asked" in shown.text
    query = await room.presses(shown, "Answer every song", bob)
    assert query.answer_text == "Only the admins of this group can change that."
    query = await room.presses(shown, "Answer every song", alice)
    await room.again(query)
    assert "I answer every song" in shown.text
    assert len((await room.menu(bob, song, chat_id=group.id)).buttons) == 4
    # voice messages are talk
    voice = record(tmp_path / "a.ogg", seconds=2)
    sent = await room.sends(bob, voice, chat_id=group.id, kind="voice")
    assert room.after(sent) == []
    group.members[bob.id] = "administrator"
    await room.presses(shown, "Answer only when asked", bob)
    sent = await room.sends(bob, song, chat_id=group.id)
    assert room.after(sent) == []


async def test_a_bot_that_does_not_receive_all_messages_says_how_to_change_that(
    redis_url: str, telegram: Telegram, alice: User
) -> None:
    telegram.has_privacy_mode = True
    async with run_telegram(telegram) as url, open_product(redis_url, telegram, url) as product:
        application = product.application()
        await application.initialize()
        room = BotRoom(product, application)
        group = telegram.add_group("Band", [alice])
        (shown,) = await room.says(alice, "/stems", chat_id=group.id)
        assert "Make me an admin of this group" in shown.text.split("\n")[-1]
        await room.presses(shown, "Answer every song", alice)
        assert "I answer every song in this group" in shown.text
        assert "Make me an admin of this group" in shown.text
        group.members[telegram.bot.id] = "administrator"
        await room.presses(shown, "Answer only when asked", alice)
        assert "Make me an admin" not in shown.text
        await application.shutdown()


async def test_a_bot_that_receives_all_messages_asks_for_nothing(
    room: BotRoom, alice: User, group: Chat
) -> None:
    (shown,) = await room.says(alice, "/stems", chat_id=group.id)
    assert "Make me an admin" not in shown.text


async def test_start_in_a_group_says_how_groups_work(room: BotRoom, bob: User, group: Chat) -> None:
    (answer,) = await room.says(bob, f"/start@{BOT}", chat_id=group.id)
    assert answer.text.startswith(HOW)


async def test_a_user_who_left_the_group_changes_no_setting(room: BotRoom, alice: User, group: Chat) -> None:
    (shown,) = await room.says(alice, "/stems", chat_id=group.id)
    carol = room.telegram.add_user("Carol")
    for user in (carol, User(77, "Nobody")):
        query = await room.forges(shown, "G:1", user)
        assert query.answer_text == "Only the admins of this group can change that."
    for data in ("G:2", "G", "G:", "G:1:1"):
        query = await room.forges(shown, data, alice)
        assert query.answer_text.startswith("This button no longer works.")
    assert not await room.product.group_settings.answers_all(group.id)


async def test_each_group_has_its_own_setting(room: BotRoom, alice: User, group: Chat, song: Path) -> None:
    await room.product.group_settings.set_answers_all(group.id, True)
    other = room.telegram.add_group("Other", [alice], supergroup=True)
    sent = await room.sends(alice, song, chat_id=other.id)
    assert room.after(sent) == []


async def test_a_group_that_becomes_a_supergroup_keeps_its_setting(
    room: BotRoom, alice: User, group: Chat, song: Path
) -> None:
    await room.product.group_settings.set_answers_all(group.id, True)
    new = room.telegram.migrate_group(group.id)
    await room.handle()
    assert await room.product.group_settings.answers_all(new.id)
    assert room.telegram.bot_messages(new.id) == []
    assert len((await room.menu(alice, song, chat_id=new.id)).buttons) == 4


async def test_a_group_keeps_its_access_as_a_supergroup(private_room: BotRoom, alice: User) -> None:
    group = private_room.telegram.add_group("Band", [alice])
    other = private_room.telegram.add_group("Other", [alice])
    await private_room.product.users.add(group.id)
    for chat in (group, other):
        await private_room.product.group_settings.set_answers_all(chat.id, True)
    new = private_room.telegram.migrate_group(group.id)
    stranger = private_room.telegram.migrate_group(other.id)
    await private_room.handle()
    assert await private_room.product.group_settings.answers_all(new.id)
    assert await private_room.product.group_settings.answers_all(stranger.id)
    assert len(await private_room.says(alice, "/help", chat_id=new.id)) == 1
    assert await private_room.says(alice, "/help", chat_id=stranger.id) == []


@pytest.mark.parametrize("writes_as", ["channel", "anonymous admin"])
async def test_a_song_sent_as_a_channel_or_group_is_owned_by_the_first_who_taps(
    room: BotRoom, alice: User, bob: User, group: Chat, song: Path, writes_as: str
) -> None:
    sent = await room.telegram.send_file(group.id, song, user_id=alice.id, caption="/stems")
    (update,) = room.telegram.updates.pending
    channel = {"id": -1009999999999, "type": "channel", "title": "Our channel"}
    update["message"] |= {
        "from": {"id": 1087968824, "is_bot": True, "first_name": "Group"},
        "sender_chat": channel if writes_as == "channel" else update["message"]["chat"],
    }
    await room.handle()
    (menu,) = room.after(sent)
    (job,) = await room.product.jobs(group.id)
    await room.taps(menu, 0, bob)
    assert (await room.product.job(job.id)).state is JobState.SUBMITTING
    query = await room.taps(menu, -1, alice)  # who chose first is who asked
    assert query.answer_text
    await room.taps(menu, -1, bob)
    assert (await room.product.job(job.id)).state is JobState.CANCELLED


async def test_in_private_a_reply_requests_a_song_too(room: BotRoom, alice: User, song: Path) -> None:
    sent = await room.sends(alice, song)
    (menu,) = (await room.says(alice, "/stems", reply_to=sent.message_id))[-1:]
    assert len(menu.buttons) == 4
    assert menu.reply_to is sent
    assert len(await room.product.jobs(alice.id)) == 2


async def test_a_chinese_user_is_answered_in_chinese_in_a_group(room: BotRoom, mei: User, song: Path) -> None:
    group = room.telegram.add_group("乐队", [mei])
    menu = await room.menu(mei, song, chat_id=group.id, caption="/stems")
    assert "How do you want" not in menu.text


# Songs of other chats, channels, and captions that are edited


@pytest.mark.parametrize("words", ["/stems", f"@{BOT}"])
async def test_a_song_of_another_chat_is_taken_by_a_reply(
    room: BotRoom, alice: User, group: Chat, song: Path, words: str
) -> None:
    elsewhere = room.telegram.add_group("Rehearsals", [alice], supergroup=True)
    there = await room.sends(alice, song, chat_id=elsewhere.id)
    how = {"reply_to": there.message_id, "reply_chat_id": elsewhere.id}
    (menu,) = await room.says(alice, words, chat_id=group.id, **how)
    assert len(menu.buttons) == 4
    assert menu.reply_to
    assert menu.reply_to.text == words
    (job,) = await room.product.jobs(alice.id)
    assert there.media
    assert job.source.file_id == there.media["file_id"]
    assert (job.chat_id, job.source_message_id) == (group.id, menu.reply_to.message_id)


async def test_a_song_of_another_chat_is_taken_in_private(room: BotRoom, alice: User, sent: Message) -> None:
    how = {"reply_to": sent.message_id, "reply_chat_id": sent.chat.id}
    (menu,) = await room.says(alice, "/stems", **how)
    assert len(menu.buttons) == 4
    text = room.telegram.send_text(sent.chat.id, "no song", user_id=alice.id)
    how = {"reply_to": text.message_id, "reply_chat_id": sent.chat.id}
    assert [answer.text for answer in await room.says(alice, "/stems", **how)] == [
        "Send me a song, or reply to one with /stems."
    ]


async def test_a_caption_that_is_edited_to_ask_counts_once(
    room: BotRoom, alice: User, bob: User, sent: Message
) -> None:
    for caption in ("our new one", "our new one /stems", "our newest one /stems", "/stems"):
        room.telegram.edit_text(sent.chat.id, sent.message_id, caption)
        await room.handle()
    await room.handle_again()
    (menu,) = room.after(sent)
    assert len(menu.buttons) == 4
    assert len(await room.product.jobs(alice.id)) == 1
    # a request with a typo, and one that was good already
    asked = room.telegram.send_text(sent.chat.id, "/stem", user_id=bob.id, reply_to=sent.message_id)
    await room.handle()
    for words in ("/stems", "/stems please"):
        room.telegram.edit_text(sent.chat.id, asked.message_id, words)
        await room.handle()
    assert len(await room.product.jobs(bob.id)) == 1


async def test_an_edited_caption_changes_nothing_after_the_first_request(
    room: BotRoom, alice: User, group: Chat, song: Path
) -> None:
    menu = await room.menu(alice, song, chat_id=group.id, caption="/stems")
    await room.taps(menu, 0)
    assert menu.reply_to
    room.telegram.edit_text(group.id, menu.reply_to.message_id, "/stems please")
    await room.handle()
    assert room.telegram.bot_messages(group.id) == [menu]
    assert len(await room.product.jobs(alice.id)) == 1


async def test_a_channel_asks_by_caption_and_its_administrators_choose(
    private_room: BotRoom, boss: User, alice: User, mei: User, song: Path
) -> None:
    room = private_room
    channel = room.telegram.add_channel("Label", alice, [mei])
    for _ in range(2):
        await room.sends(alice, song, chat_id=channel.id, caption="/stems")
    assert room.telegram.bot_messages(channel.id) == []
    (asking,) = room.telegram.bot_messages(boss.id)
    assert asking.text == f"🙋 Label ({channel.id}) wants to use this bot."
    await room.presses(asking, "Let in")
    plain = await room.sends(alice, song, chat_id=channel.id)
    assert room.after(plain) == []
    menu = await room.menu(alice, song, chat_id=channel.id, caption=f"@{BOT}")
    assert (await room.taps(menu, 0, mei)).answer_text == "只有发起的人才能选择。"
    assert await room.product.ordered() == []
    await room.taps(menu, 0, alice)
    assert [task for task, _ in await room.product.ordered()] == ["submit"]
    # a caption that is edited, and a reply to a post
    room.telegram.edit_text(channel.id, plain.message_id, "/stems")
    await room.handle()
    assert len(room.after(plain)) == 2
    assert len(await room.says(alice, "/stems", chat_id=channel.id, reply_to=plain.message_id)) == 1


async def test_a_post_and_its_copy_in_the_discussion_group_ask_once(
    room: BotRoom, alice: User, group: Chat, song: Path
) -> None:
    channel = room.telegram.add_channel("Label", alice)
    menu = await room.menu(alice, song, chat_id=channel.id, caption="/stems")
    post = menu.reply_to
    assert post
    origin = {"type": "channel", "date": post.date, "chat": channel.to_dict(), "message_id": post.message_id}
    copied = post.to_dict() | {"chat": group.to_dict(), "message_id": 900, "forward_origin": origin}
    room.telegram.updates.add("message", copied | {"is_automatic_forward": True})
    await room.handle()
    assert room.telegram.bot_messages(group.id) == []


# Rights


@pytest.mark.parametrize("bot_only", [False, True], ids=["nobody may", "the bot may not"])
async def test_a_song_is_not_taken_where_no_music_may_be_sent(
    room: BotRoom, alice: User, group: Chat, song: Path, bot_only: bool
) -> None:
    room.telegram.forbid(group.id, "can_send_audios", bot_only=bot_only)
    sent = await room.sends(alice, song, chat_id=group.id, caption="/stems")
    (answer,) = room.after(sent)
    assert answer.text.startswith("I may not send music in this chat.")
    assert await room.product.jobs(alice.id) == []
    room.telegram.forbid(group.id, bot_only=bot_only)  # helps at once
    menu = await room.menu(alice, song, chat_id=group.id, caption="/stems")
    room.telegram.forbid(group.id, "can_send_audios", bot_only=bot_only)
    room.product.clock.advance(60)
    query = await room.taps(menu, 0, alice)
    assert query.answer_text == answer.text
    (job,) = await room.product.jobs(alice.id)
    assert (job.state, await room.product.ordered()) == (JobState.CHOOSING, [])


async def test_an_administrator_may_send_what_the_group_may_not(
    room: BotRoom, alice: User, group: Chat, song: Path
) -> None:
    room.telegram.forbid(group.id, "can_send_audios")
    group.members[room.telegram.bot.id] = "administrator"
    menu = await room.menu(alice, song, chat_id=group.id, caption="/stems")
    assert menu.buttons


async def test_joining_a_group_without_rights_is_told(room: BotRoom, alice: User, group: Chat) -> None:
    room.telegram.block_bot(group.id)
    room.telegram.unblock_bot(group.id)
    await room.handle()
    assert room.telegram.bot_messages(group.id) == []
    room.telegram.forbid(group.id, "can_send_audios")
    room.product.clock.advance(60)
    room.telegram.block_bot(group.id)
    room.telegram.unblock_bot(group.id)
    await room.handle()
    (told,) = room.telegram.bot_messages(group.id)
    assert told.text.startswith("I may not send music in this chat.")


async def test_a_group_that_takes_no_text_is_left_alone(
    room: BotRoom, alice: User, group: Chat, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    room.telegram.forbid(group.id, "can_send_messages", bot_only=True)
    sent = await room.sends(alice, song, chat_id=group.id, caption="/stems")
    assert room.after(sent) == []
    assert await room.product.jobs(alice.id) == []
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def obstructed(room: BotRoom, sent: Message, code: str, **changes: Any) -> Job:
    """A job whose stems could not be sent."""
    job = await room.product.at(JobState.DELIVERING, sent, result=RESULT, **changes)
    assert await room.product.store.fail(job.id, [JobState.DELIVERING], Failure(code, charged=True))
    return job


async def test_stems_that_waited_for_rights_are_sent_once_when_they_come(
    private_room: BotRoom, alice: User, bob: User, song: Path
) -> None:
    """The administrator who gives them is a stranger to the bot."""
    room, telegram = private_room, private_room.telegram
    group, other = telegram.add_group("Band", [bob, alice]), telegram.add_group("Other", [alice])
    sent = await room.sends(alice, song, chat_id=group.id)
    telegram.forbid(group.id, "can_send_audios")
    jobs = [await obstructed(room, sent, Obstacle.NO_MUSIC, task_id=f"task-{n}") for n in range(2)]
    await obstructed(
        room, await room.sends(alice, song, chat_id=other.id), Obstacle.NO_MUSIC, task_id="task-9"
    )
    telegram.forbid(group.id, "can_send_polls", bot_only=True)
    await room.handle()
    assert await room.product.ordered() == []
    telegram.set_bot_status(group.id, "administrator")
    await room.handle()
    await room.handle_again()
    assert await room.product.ordered() == [("deliver", job.id) for job in jobs]
    for job in jobs:
        await room.product.store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED)
    await room.handle_again()
    assert await room.product.ordered() == []
    assert telegram.bot_messages(group.id) == []


@pytest.mark.parametrize("reopened", ["its topic", "General"])
async def test_stems_that_waited_for_a_topic_are_sent_when_it_is_reopened(
    room: BotRoom, alice: User, song: Path, reopened: str
) -> None:
    forum = room.telegram.add_group("Band", [alice], forum=True)
    topics = [room.telegram.add_topic(forum.id, name) for name in ("Demos", "Other")]
    sent = await room.sends(alice, song, chat_id=forum.id, thread_id=topics[0])
    for topic in (*topics, None):
        room.telegram.close_topic(forum.id, topic)
    job = await obstructed(room, sent, Obstacle.TOPIC_CLOSED)
    room.telegram.close_topic(forum.id, topics[1], closed=False)
    await room.handle()
    assert await room.product.ordered() == []
    room.telegram.close_topic(forum.id, topics[0] if reopened == "its topic" else None, closed=False)
    await room.handle()
    assert await room.product.ordered() == [("deliver", job.id)]


async def test_stems_follow_a_group_that_becomes_a_supergroup(
    room: BotRoom, alice: User, sent: Message
) -> None:
    """Telegram makes it one when an administrator gives the bot single rights."""
    job = await obstructed(room, sent, Obstacle.NO_MUSIC)
    room.telegram.forbid(sent.chat.id, "can_send_audios")
    new = room.telegram.migrate_group(sent.chat.id)
    room.telegram.forbid(new.id, "can_send_audios")
    await room.handle()
    assert await room.product.ordered() == []
    room.telegram.set_bot_status(new.id, "administrator")
    await room.handle()
    assert await room.product.ordered() == [("deliver", job.id)]
    assert (await room.product.job(job.id)).chat_id == new.id


@pytest.mark.parametrize("is_private", [True, False])
async def test_stems_that_waited_for_a_chat_that_was_gone_are_sent_when_it_is_back(
    room: BotRoom, alice: User, sent: Message, song: Path, is_private: bool
) -> None:
    sent = await room.sends(alice, song) if is_private else sent
    room.telegram.block_bot(sent.chat.id)
    await room.handle()
    job = await obstructed(room, sent, "undeliverable")
    await room.product.store.close(job.id)
    room.telegram.unblock_bot(sent.chat.id)
    await room.handle()
    await room.handle_again()
    assert await room.product.ordered() == [("deliver", job.id)]

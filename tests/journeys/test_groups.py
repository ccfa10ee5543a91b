"""Groups and their topics, as a bot hears them that reads only what is meant for it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from chat import Person
from deployment import Deployment

from sandbox.telegram.chats import Message
from stemdrop.chat.translations import load_translations

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS, CANCEL = 0, 3
ASK = "/stems"
IN_CHINESE = load_translations().language("zh-hans")


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def privacy_mode(deployment: Deployment) -> AsyncIterator[None]:
    """Turn privacy mode on, as it is for every new bot."""
    deployment.telegram.has_privacy_mode = True
    yield
    deployment.telegram.has_privacy_mode = False


def band(deployment: Deployment, *languages: str, forum: bool = False) -> list[Person]:
    """A group, and in it a person of each language; the first runs it."""
    users = [deployment.person(f"{number} {code}", language=code) for number, code in enumerate(languages)]
    members = [deployment.telegram.user(person.id) for person in users]
    group = deployment.telegram.add_group("Band", members, forum=forum)
    for person in users:
        person.chat_id = group.id
    return users


async def menu_for(person: Person, song: Message, thread_id: int | None = None) -> Message:
    """Return the bot's answer to the person's command in reply to this song."""
    asked = person.says(ASK, reply_to=song.message_id, thread_id=thread_id)
    return await person.answer_to(asked)


async def test_a_song_ordered_by_a_reply_is_answered_in_its_topic(deployment: Deployment) -> None:
    async def in_one_forum(language: str, *, is_in_topic: bool) -> None:
        translate = load_translations().language(language)
        asker, singer = band(deployment, language, "ru", forum=True)
        topic = deployment.telegram.add_topic(asker.chat_id, "Demos")
        here, there = (topic, None) if is_in_topic else (None, topic)
        sent = await singer.sends(deployment.song(f"Demo {language}"), thread_id=here)
        await singer.sends(deployment.song(f"Elsewhere {language}"), thread_id=there)
        menu = await menu_for(asker, sent, thread_id=here)
        assert deployment.telegram.bot_messages(asker.chat_id) == [menu]  # the other songs were left alone
        assert menu.text == translate("choose", title=f"Demo {language}")
        await asker.taps(menu, VOCALS)
        menu = await asker.shows(menu, "✅")
        assert len(asker.audios()) == 2
        shown = deployment.telegram.bot_messages(asker.chat_id)
        assert {message.thread_id for message in shown} == {here}
        assert all(message.reply_to is sent for message in shown)

    await asyncio.gather(in_one_forum("en", is_in_topic=True), in_one_forum("zh-hans", is_in_topic=False))


async def test_two_ask_for_the_same_song_and_buttons_obey_who_asked(deployment: Deployment) -> None:
    anna, wei = band(deployment, "en", "zh-hans")
    carol = deployment.person("Carol")
    _, menu = await carol.asks(deployment.song("Wanted Twice"), VOCALS)
    menu = await carol.shows(menu, "✅")
    song = await wei.sends(deployment.song("Wanted Twice"))
    menu, menu_wei = await menu_for(anna, song), await menu_for(wei, song)
    refused = await asyncio.gather(wei.taps(menu, VOCALS), anna.taps(menu_wei, CANCEL))
    assert [query.answer_text for query in refused] == [
        IN_CHINESE("tap.not_yours"),
        "Only the person who asked for it can choose.",
    ]
    assert [len(message.history) for message in (menu, menu_wei)] == [0, 0]
    await asyncio.gather(anna.taps(menu, VOCALS), wei.taps(menu_wei, CANCEL))
    menu = await anna.shows(menu, "✅ “Wanted Twice”: 2 stems are here. They cost nothing")
    await wei.shows(menu_wei, "✖️")
    assert len(deployment.provider.creates) == 1
    assert [audio.reply_to for audio in anna.audios()] == [song] * 2


async def test_every_song_is_answered_where_the_groups_admin_wants_it(deployment: Deployment) -> None:
    deployment.telegram.has_privacy_mode = False  # who wants that must let the bot read all
    anna, wei = band(deployment, "en", "zh-hans")
    setting = await anna.answer_to(anna.says(ASK))
    assert "I answer only when asked" in setting.text
    refused = await wei.taps(setting, 0)
    assert refused.answer_text == IN_CHINESE("group.admins_only")
    assert "only when asked" in setting.text
    await anna.presses_twice(setting, "Answer every song")
    await anna.shows(setting, "In groups I split a song when you ask")
    await anna.sees(lambda: "I answer every song in this group" in setting.text)
    wei.says("listen to this")
    _, menu = await wei.asks(deployment.song("Unasked"))
    assert menu.text == IN_CHINESE("choose", title="Unasked")
    await anna.presses(setting, "Answer only when asked")
    await anna.sees(lambda: "only when asked" in setting.text)
    ignored = await wei.sends(deployment.song("Ignored"))
    asked = await wei.sends(deployment.song("Asked"), caption=ASK)
    menu = await wei.answer_to(asked)
    assert "Asked" in menu.text
    assert all(shown.reply_to is not ignored for shown in wei.after(ignored))


async def test_settings_and_stems_follow_a_group_that_is_upgraded(deployment: Deployment) -> None:
    deployment.telegram.has_privacy_mode = False
    deployment.provider.answers_by_itself = False
    deployment.ordinary = ("upgraded to a supergroup",)
    anna, wei = band(deployment, "en", "zh-hans")
    setting = await anna.answer_to(anna.says(ASK))
    await anna.presses(setting, "Answer every song")
    await anna.sees(lambda: "I answer every song in this group" in setting.text)
    _, menu = await wei.asks(deployment.song("Upgraded"), VOCALS)
    await deployment.separating()
    await deployment.tasks_rest()
    anna.chat_id = wei.chat_id = deployment.telegram.migrate_group(wei.chat_id).id
    assert (await deployment.provider.call_back()).status_code == 200
    await wei.sees(lambda: [shown.text[:1] for shown in deployment.texts(wei)] == ["✅"])
    assert wei.titles() == ["Upgraded (人声)", "Upgraded (伴奏)"]
    (closing,) = deployment.texts(wei)
    # its buttons obey the same person, and the setting came along
    assert (await anna.taps(closing, 0)).answer_text == "Only the person who asked for it can choose."
    sent = await anna.sends(deployment.song("After It"))
    menu = await anna.answer_to(sent)
    assert menu.text == "🎵 “After It”\nHow do you want it split?"

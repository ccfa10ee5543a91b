"""What Telegram is told of the bot: commands per language and kind of chat, and descriptions."""

import json
from collections.abc import Iterator

import pytest
from product import BotRoom

from bot.introduction import ADMIN_COMMANDS, GROUP_COMMANDS, PRIVATE_COMMANDS, introduce
from sandbox.telegram.chats import User
from sandbox.telegram.faults import FaultKind


def told(room: BotRoom) -> dict[tuple[str, str], list[str]]:
    """(kind of chat, or a chat's id; language) → names of the commands."""
    found = {}
    for (scope, language), commands in room.telegram.commands.items():
        where = json.loads(scope)
        found[str(where.get("chat_id", where["type"])), language] = [item["command"] for item in commands]
    return found


def codes(room: BotRoom) -> Iterator[str]:
    """Two letters for every language but English, which is for everybody else."""
    for code in room.product.translations.languages:
        yield "" if code == "en" else code[:2]


async def introduced(room: BotRoom) -> None:
    await introduce(room.product.bot, room.product.translations, room.product.users)


async def test_commands_are_listed_for_every_kind_of_chat_and_language(
    private_room: BotRoom, boss: User
) -> None:
    await introduced(private_room)
    expected = {}
    for code in codes(private_room):
        expected["all_private_chats", code] = list(PRIVATE_COMMANDS)
        expected["all_group_chats", code] = list(GROUP_COMMANDS)
        expected[str(boss.id), code] = list(ADMIN_COMMANDS)
    assert told(private_room) == expected
    assert {"", "zh"} <= set(codes(private_room))


async def test_an_admin_without_a_chat_is_passed_over(private_room: BotRoom) -> None:
    await introduced(private_room)
    assert {where for where, _ in told(private_room)} == {"all_private_chats", "all_group_chats"}


async def test_the_descriptions_are_set_and_fit(room: BotRoom) -> None:
    await introduced(room)
    for code in codes(room):
        assert 0 < len(room.telegram.descriptions["description", code]) <= 512
        assert 0 < len(room.telegram.descriptions["short_description", code]) <= 120


@pytest.mark.filterwarnings("ignore::telegram.warnings.PTBDeprecationWarning")  # the library's own use
async def test_a_limit_on_descriptions_delays_nothing(
    room: BotRoom, caplog: pytest.LogCaptureFixture
) -> None:
    room.telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method="setMyDescription", retry_after_s=3600)
    await introduced(room)
    assert len(told(room)) == 2 * (len(room.product.translations.languages) - 1)  # Telegram takes one Chinese


async def test_every_command_is_answered_and_listed_in_help(private_room: BotRoom, boss: User) -> None:
    (shown,) = await private_room.says(boss, "/help")
    for name in {*ADMIN_COMMANDS, *GROUP_COMMANDS} - {"start", "help"}:
        assert f"/{name}" in shown.text
    for name in {*ADMIN_COMMANDS, *GROUP_COMMANDS}:
        (answer,) = await private_room.says(boss, f"/{name}")
        assert answer.text != "I don't know this command. /help tells you what I can do."

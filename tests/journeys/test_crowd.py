"""Fifty people at once, and one person with many songs who does not delay others."""

import asyncio

import pytest
from chat import Person
from stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROCESSES = ("up", "worker")
VOCALS = 0
LANGUAGES = ("en", "zh-hans", "ru", "es", "pt-br")
# 50 people, 2 stems, a menu and three or four edits each, at 20 messages a second
LONG_S = 100.0


async def test_fifty_people_at_once_all_get_their_own_stems(stage: Stage) -> None:
    users = [stage.person(f"P{number}", language=LANGUAGES[number % 5]) for number in range(50)]

    async def one(number: int, person: Person) -> None:
        person.wait_s = LONG_S
        _, menu = await person.asks(stage.song(f"Song {number}"), VOCALS)
        await person.shows(menu, "✅")

    await asyncio.gather(*(one(number, person) for number, person in enumerate(users)))
    for number, person in enumerate(users):
        assert [title.partition(" (")[0] for title in person.titles()] == [f"Song {number}"] * 2
        assert len(stage.translations(person)) == 1
    assert len(stage.provider.creates) == 50


async def test_a_user_with_many_songs_does_not_delay_others(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    greedy, bob = stage.person("Greedy"), stage.person("Bob")
    menus = [(await greedy.asks(stage.song(f"Many {number}")))[1] for number in range(4)]
    for menu in menus:
        await greedy.taps(menu, VOCALS)
    await greedy.shows(menus[3], "🕗 “Many 3” is waiting for your earlier songs: number 1 in your queue.")
    await stage.accepted(3)
    _, menu = await bob.asks(stage.song("Only One"), VOCALS)
    await bob.shows(menu, "⏳")
    assert len(stage.provider.creates) == 4
    await stage.provider.call_back(3)
    await bob.shows(menu, "✅")
    stage.provider.answers_by_itself = True
    for number in range(3):
        await stage.provider.call_back(number)
    for menu in menus:
        await greedy.shows(menu, "✅")
    assert len(stage.provider.creates) == 5

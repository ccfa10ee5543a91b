"""Twenty-five people at once all get their own stems."""

import asyncio

import pytest
from chat import Person
from deployment import Deployment

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROCESSES = ("up", "worker")
VOCALS = 0
LANGUAGES = ("en", "zh-hans", "ru", "es", "pt-br")
# For 25 people with 2 stems, a menu and three or four edits each, at 20 messages a second.
LONG_S = 100.0


async def test_twenty_five_people_at_once_all_get_their_own_stems(deployment: Deployment) -> None:
    users = [deployment.person(f"P{number}", language=LANGUAGES[number % 5]) for number in range(25)]

    async def one(number: int, person: Person) -> None:
        person.wait_s = LONG_S
        _, menu = await person.asks(deployment.song(f"Song {number}"), VOCALS)
        menu = await person.shows(menu, "✅")

    await asyncio.gather(*(one(number, person) for number, person in enumerate(users)))
    for number, person in enumerate(users):
        assert [title.partition(" (")[0] for title in person.titles()] == [f"Song {number}"] * 2
        assert len(deployment.texts(person)) == 1
    assert len(deployment.provider.creates) == 25

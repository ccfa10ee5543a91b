"""Users who block the bot at every step: their jobs end, delay no other user, and they may come back."""

import asyncio

import pytest
from chat import Person
from deployment import Deployment, until

from sandbox.telegram.chats import Message
from stemdrop.chat.translations import load_translations

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS = 0
IN_CHINESE = load_translations().language("zh-hans")


def tap_and_block(deployment: Deployment, person: Person, menu: Message, label: str) -> None:
    """Press the button and block the bot before it gets the update."""
    button = next(button for button in menu.buttons if label in button["text"])
    deployment.telegram.tap(person.chat_id, menu.message_id, button["callback_data"])
    deployment.telegram.block_bot(person.id)


async def test_users_who_block_the_bot_delay_no_others_and_may_come_back(deployment: Deployment) -> None:
    provider, telegram = deployment.provider, deployment.telegram
    deployment.ordinary = ("bot was blocked by the user",)
    at_menu, separating, delivering, archives = (
        deployment.person(name, language="zh-hans" if number % 2 else "en")
        for number, name in enumerate(("Menu", "Separating", "Delivering", "Packing"))
    )
    _, packed = await archives.asks(deployment.song("Packed"), VOCALS)
    packed = await archives.shows(packed, "✅")
    _, menu = await at_menu.asks(deployment.song("Menu"))
    provider.answers_by_itself = False
    provider.hold_stems.clear()
    _, separated = await separating.asks(deployment.song("Separating"), VOCALS)
    _, delivered = await delivering.asks(deployment.song("Delivering"), VOCALS)
    await deployment.separating(2)
    await asyncio.gather(separating.shows(separated, "⏳"), delivering.shows(delivered, "⏳"))
    await asyncio.gather(*(provider.call_back(number) for number in (1, 2)))
    await delivering.shows(delivered, "📤")
    await until(lambda: len(provider.stem_requests) >= 4)

    for person in (separating, delivering):
        telegram.block_bot(person.id)
    tap_and_block(deployment, at_menu, menu, "Vocals")
    tap_and_block(deployment, archives, packed, IN_CHINESE("button.zip"))
    await deployment.accepted(4)
    provider.hold_stems.set()
    provider.answers_by_itself = True
    await provider.call_back(3)

    bystander = deployment.person("Bystander")
    _, menu = await bystander.asks(deployment.song("Meanwhile"), VOCALS)
    menu = await bystander.shows(menu, "✅")
    await deployment.jobs_rest()
    await deployment.tasks_rest()
    creates = len(provider.creates)
    gone = (at_menu, separating, delivering, archives)
    assert [len(person.audios()) for person in gone] == [0, 0, 0, 2]

    async def comes_back(person: Person, *, lost: int) -> None:
        telegram.unblock_bot(person.id)
        before = 2 - lost
        if lost:  # what was paid for comes by itself
            await person.sees(lambda: len(person.audios()) == before + 2)
            await person.sees(lambda: deployment.texts(person)[-1].text.startswith("✅"))
        _, menu = await person.asks(deployment.song(f"Back {person.id}"), VOCALS)
        menu = await person.shows(menu, "✅")
        assert len(person.audios()) == before + lost + 2

    await asyncio.gather(*(comes_back(person, lost=0 if person is archives else 2) for person in gone))
    assert len(provider.creates) == creates + 4

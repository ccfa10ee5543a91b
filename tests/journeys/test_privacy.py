"""`/delete` after a full life with the bot: nothing is left but what its answer names."""

import asyncio

import pytest
from chat import Person
from deployment import Deployment
from redis_search import find_keys

from sandbox.telegram.chats import Message
from stemdrop.chat.translations import Language, load_translations

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS = 0
# An update is kept for a minute after it was handled (`/privacy` says so), which is too long to wait here.
RECORDS = "stemdrop:updates:"


class Resident:
    """A person with songs in several states, a ZIP, a chosen language, and stems that Telegram keeps."""

    def __init__(self, deployment: Deployment, name: str, language: str, title: str) -> None:
        self.deployment = deployment
        self.person: Person = deployment.person(name, language=language)
        self.title = title
        self.name = name
        self.own: Language = load_translations().language(language)
        self.chosen: Language = load_translations().language("ru")
        self.open: Message

    async def fails(self) -> None:
        _, menu = await self.person.asks(self.deployment.song(f"{self.title} 1"), VOCALS)
        await self.person.shows(menu, "⚠️")

    async def receives(self) -> None:
        asked = await self.person.answer_to(self.person.says("/language"))
        await self.person.presses(asked, self.chosen("language.name"))
        _, menu = await self.person.asks(self.deployment.song(f"{self.title} 2"), VOCALS)
        menu = await self.person.shows(menu, "✅")
        await self.person.presses(menu, self.chosen("button.zip"))
        await self.person.sees(lambda: "document" in str([m.kind for m in self.person.after(menu)]))

    async def waits(self) -> None:
        _, self.open = await self.person.asks(self.deployment.song(f"{self.title} 3"), VOCALS)
        await self.person.shows(self.open, "⏳")
        await self.deployment.tasks_rest()

    async def deletes(self) -> str:
        asked = await self.person.answer_to(self.person.says("/delete"))
        await self.person.presses(asked, self.chosen("button.delete"))
        await self.person.sees(lambda: not asked.buttons)
        # cancelled; or deleted, if another process was about to write its earlier state
        await self.person.sees(lambda: self.open.text.startswith(("✖️", "🗑")))
        return asked.text

    async def left(self) -> list[str]:
        """The keys that still tell something of them."""
        redis_url = self.deployment.environment.redis.url
        found = await find_keys(redis_url, str(self.person.id), self.name, self.title)
        return [key.replace(str(self.person.id), "ID") for key in found if not key.startswith(RECORDS)]


async def test_deleting_leaves_only_the_records_that_its_answer_names(deployment: Deployment) -> None:
    provider = deployment.provider
    zora = Resident(deployment, "Zora Quillfeather", "en", "Xylophone Dawn")
    wei = Resident(deployment, "王小明", "zh-hans", "木琴的黎明")
    both = (zora, wei)
    provider.failure = 500
    await asyncio.gather(*(resident.fails() for resident in both))
    provider.failure = None
    await asyncio.gather(*(resident.receives() for resident in both))
    provider.answers_by_itself = False
    await asyncio.gather(*(resident.waits() for resident in both))
    for resident in both:
        assert len(await resident.left()) > 5

    for told in await asyncio.gather(*(resident.deletes() for resident in both)):
        translate = zora.chosen
        assert told.split("\n")[:3] == [
            translate.plural("delete.songs", 3),
            translate.plural("delete.kept_songs", 1),
            translate("delete.choices"),
        ]
        assert translate("delete.stays", days=8) in told
    await deployment.tasks_rest()
    answers = [await provider.call_back(number) for number in range(len(provider.creates))]
    assert {answer.status_code for answer in answers} == {403}
    await deployment.tasks_rest()
    for resident in both:
        # the credits used today, as the answer says, and for five minutes how fast the chat may be written to
        account, flood, awaited = await resident.left()
        assert account.startswith("stemdrop:account:ID:20")
        assert flood == "stemdrop:flood:full:ID"
        # of the song whose stems had not come: its credits could still come back
        assert awaited.startswith("stemdrop:job:")
        assert awaited.endswith(":spent")
        assert len(resident.person.audios()) == 2
        assert resident.name not in deployment.environment.logs()
        assert resident.title not in deployment.environment.logs()

    provider.answers_by_itself = True

    async def begins_anew(resident: Resident) -> None:
        _, menu = await resident.person.asks(deployment.song(f"{resident.title} 2"))
        assert menu.text == resident.own("choose", title=f"{resident.title} 2")
        assert resident.own("price.free") not in str(menu.buttons)
        await resident.person.taps(menu, VOCALS)
        menu = await resident.person.shows(menu, "✅")

    await asyncio.gather(*(begins_anew(resident) for resident in both))

"""Every button is tapped twice at the same moment and takes effect once."""

import asyncio

import pytest
from chat import Person, mode_label
from deployment import Deployment

from sandbox.telegram.chats import Message
from stemdrop.chat.translations import Language, load_translations
from stemdrop.domain.jobs import Mode

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS = Mode.SEPARATE_VOCAL


class Impatient:
    """A person who taps everything twice. Each uses another part of the bot, because a chat gets only one
    message a second."""

    def __init__(self, deployment: Deployment, language: str, title: str) -> None:
        self.deployment = deployment
        self.translate: Language = load_translations().language(language)
        self.person: Person = deployment.person(f"{title} {language}", language=language)
        self.title = f"{title} {language}"
        self.menu: Message

    async def asks(self) -> None:
        _, self.menu = await self.person.asks(self.deployment.song(self.title))

    async def taps(self, label: str, start: str = "", menu: Message | None = None) -> None:
        """Tap the button twice and wait until its message reads so.

        Of two taps the slower may for a moment show again what was before: then the button comes back.
        """
        menu = menu or self.menu
        await self.person.sees(lambda: label in str(menu.buttons))
        await self.person.presses_twice(menu, label)
        shown = await self.person.shows(menu, start)
        if menu is self.menu:
            self.menu = shown

    def kinds(self) -> dict[str, int]:
        """How many messages of each kind have come."""
        shown = [message.kind for message in self.deployment.telegram.bot_messages(self.person.chat_id)]
        return {kind: shown.count(kind) for kind in sorted(set(shown))}


class Chooser(Impatient):
    """Turns the pages of the list, takes one instrument, then another way of splitting."""

    async def chooses(self) -> None:
        await self.asks()
        await self.taps(mode_label(self.translate, Mode.SPLIT_STEM_ADVANCED))
        await self.taps("›")
        await self.person.sees(lambda: "'‹'" in str(self.menu.buttons))
        await self.taps(self.menu.buttons[0]["text"], "✅")
        await self.taps(mode_label(self.translate, VOCALS))
        await self.person.sees(lambda: self.kinds() == {"audio": 4, "text": 2})
        await self.person.shows(self.deployment.texts(self.person)[1], "✅")


class Packer(Impatient):
    """Tries again what failed, then wants it as one ZIP and as voice messages."""

    async def fails(self) -> None:
        await self.asks()
        await self.taps(mode_label(self.translate, VOCALS), "⚠️")

    async def packs(self) -> None:
        await self.taps(self.translate("button.retry", price=self.translate.credits(10)), "✅")
        await self.taps(self.translate("button.zip"))
        await self.person.sees(lambda: "document" in self.kinds())
        await self.taps(self.translate("button.small"))
        await self.person.sees(lambda: self.kinds().get("voice") == 2)


class Lister(Impatient):
    """Stops and repeats songs in the list of `/jobs`."""

    async def fails(self) -> None:
        await self.asks()
        await self.taps(mode_label(self.translate, VOCALS), "⚠️")
        self.failed = self.menu

    async def begins(self) -> None:
        self.title = f"Soon {self.title}"
        await self.asks()
        await self.taps(mode_label(self.translate, VOCALS), "⏳")

    async def stops_and_repeats(self) -> None:
        listed = await self.person.answer_to(self.person.says("/jobs"))
        await self.taps(self.translate("button.cancel"), menu=listed)
        await self.person.shows(self.menu, "✖️")
        await self.taps(self.translate("button.retry", price=self.translate.credits(10)), menu=listed)
        self.failed = await self.person.shows(self.failed, "✅")


class Leaver(Impatient):
    """Gets everything sent again, changes the language, then has everything deleted."""

    async def leaves(self) -> None:
        await self.asks()
        await self.taps(mode_label(self.translate, VOCALS), "✅")
        listed = await self.person.answer_to(self.person.says("/jobs"))
        await self.taps(self.translate("button.resend"), menu=listed)
        await self.person.sees(lambda: self.kinds() == {"audio": 4, "text": 3})
        await self.person.shows(self.deployment.texts(self.person)[-1], "✅")
        asked = await self.person.answer_to(self.person.says("/language"))
        translate = load_translations().language("es")
        await self.taps(
            translate("language.name"), translate("language.done", name=translate("language.name")), asked
        )
        asked = await self.person.answer_to(self.person.says("/delete"))
        await self.taps(translate("button.delete"), translate.plural("delete.songs", 1), asked)
        self.deleted = asked


class Fetcher(Impatient):
    """Fetches what could not be fetched."""

    async def misses(self) -> None:
        await self.asks()
        await self.taps(mode_label(self.translate, Mode.SPLIT_STEM_ADVANCED))
        await self.taps(self.translate.named("Bass"), "✅")

    async def fetches_again(self) -> None:
        assert len(self.person.audios()) == 1
        await self.taps(self.translate("button.fetch_again"))
        await self.person.sees(lambda: len(self.person.audios()) == 2)


class Canceller(Impatient):
    """Cancels a song before picking a mode."""

    async def cancels(self) -> None:
        await self.asks()
        await self.taps(self.translate("button.cancel"), "✖️")


async def test_every_button_tapped_twice_at_once_takes_effect_once(deployment: Deployment) -> None:
    provider = deployment.provider
    chooser = Chooser(deployment, "en", "Choice")
    packer = Packer(deployment, "zh-hans", "Pack")
    lister = Lister(deployment, "en", "List")
    leaver = Leaver(deployment, "zh-hans", "Leave")
    fetcher = Fetcher(deployment, "en", "Fetch")
    canceller = Canceller(deployment, "zh-hans", "Cancel")

    provider.refusal = (500, "no")
    await asyncio.gather(packer.fails(), lister.fails())
    provider.refusal = None
    provider.broken_stems = {"remove": 404}
    await fetcher.misses()
    provider.broken_stems = {}
    provider.answers_by_itself = False
    await lister.begins()
    await deployment.separating()
    provider.answers_by_itself = True
    await asyncio.gather(
        chooser.chooses(),
        packer.packs(),
        lister.stops_and_repeats(),
        leaver.leaves(),
        fetcher.fetches_again(),
        canceller.cancels(),
    )
    await deployment.jobs_rest()
    await deployment.tasks_rest()
    assert chooser.kinds() == {"audio": 4, "text": 2}
    assert packer.kinds() == {"audio": 2, "document": 1, "text": 1, "voice": 2}
    assert lister.kinds() == {"audio": 2, "text": 3}
    # the song, what was sent again, and an answer to each command
    assert leaver.kinds() == {"audio": 4, "text": 5}
    assert fetcher.kinds() == {"audio": 2, "text": 1}
    assert canceller.kinds() == {"text": 1}
    counted = load_translations().language("es").plural("delete.songs", 1)
    assert leaver.deleted.text.startswith(counted)
    types = [create["type"] for create in provider.creates]
    assert types.count("split_stem_advanced") == 2
    assert types.count("separate_vocal") == 5

"""Everything is tapped twice, really at the same time, and what must come once comes once."""

import asyncio

import pytest
from chat import Person
from stage import Stage

from sandbox.telegram.chats import Message
from stemdrop.chat.translations import Language, load_translations
from stemdrop.domain.jobs import Mode

pytestmark = pytest.mark.asyncio(loop_scope="module")

LANGUAGES = ("en", "zh-hans")
VOCALS = Mode.SEPARATE_VOCAL


class Impatient:
    """A person who taps everything twice. Each uses another part of the bot, because a chat gets only one
    message a second."""

    def __init__(self, stage: Stage, language: str, title: str) -> None:
        self.stage = stage
        self.say: Language = load_translations().language(language)
        self.person: Person = stage.person(f"{title} {language}", language=language)
        self.title = f"{title} {language}"
        self.menu: Message

    async def asks(self) -> None:
        _, self.menu = await self.person.asks(self.stage.song(self.title))

    async def taps(self, label: str, start: str = "", menu: Message | None = None) -> None:
        """Tap the button twice and wait until its message reads so.

        Of two taps the slower may for a moment show again what was before: then the button comes back.
        """
        menu = menu or self.menu
        await self.person.sees(lambda: label in str(menu.buttons))
        await self.person.presses_twice(menu, label)
        await self.person.shows(menu, start)

    def kinds(self) -> dict[str, int]:
        """How many messages of each kind have come."""
        shown = [message.kind for message in self.stage.telegram.bot_messages(self.person.chat_id)]
        return {kind: shown.count(kind) for kind in sorted(set(shown))}


class Chooser(Impatient):
    """Turns the pages of the list, takes one instrument, then another way of splitting."""

    async def chooses(self) -> None:
        await self.asks()
        await self.taps(self.say.mode(Mode.SPLIT_STEM_ADVANCED))
        await self.taps("›")
        await self.person.sees(lambda: "'‹'" in str(self.menu.buttons))
        await self.taps(self.menu.buttons[0]["text"], "✅")
        await self.taps(self.say.mode(VOCALS))
        await self.person.sees(lambda: self.kinds() == {"audio": 4, "text": 2})
        await self.person.shows(self.stage.translations(self.person)[1], "✅")


class Packer(Impatient):
    """Tries again what failed, then wants it as one ZIP and as voice messages."""

    async def fails(self) -> None:
        await self.asks()
        await self.taps(self.say.mode(VOCALS), "⚠️")

    async def packs(self) -> None:
        await self.taps(self.say("button.retry", price=self.say.credits(10)), "✅")
        await self.taps(self.say("button.zip"))
        await self.person.sees(lambda: "document" in self.kinds())
        await self.taps(self.say("button.small"))
        await self.person.sees(lambda: self.kinds().get("voice") == 2)


class Lister(Impatient):
    """Stops and repeats songs in the list of `/jobs`."""

    async def fails(self) -> None:
        await self.asks()
        await self.taps(self.say.mode(VOCALS), "⚠️")
        self.failed = self.menu

    async def begins(self) -> None:
        self.title = f"Soon {self.title}"
        await self.asks()
        await self.taps(self.say.mode(VOCALS), "⏳")

    async def stops_and_repeats(self) -> None:
        listed = await self.person.answer_to(self.person.says("/jobs"))
        await self.taps(self.say("button.cancel"), menu=listed)
        await self.person.shows(self.menu, "✖️")
        await self.taps(self.say("button.retry", price=self.say.credits(10)), menu=listed)
        await self.person.shows(self.failed, "✅")


class Leaver(Impatient):
    """Gets everything sent again, changes the language, then has everything deleted."""

    async def leaves(self) -> None:
        await self.asks()
        await self.taps(self.say.mode(VOCALS), "✅")
        listed = await self.person.answer_to(self.person.says("/jobs"))
        await self.taps(self.say("button.resend"), menu=listed)
        await self.person.sees(lambda: self.kinds() == {"audio": 4, "text": 3})
        await self.person.shows(self.stage.translations(self.person)[-1], "✅")
        asked = await self.person.answer_to(self.person.says("/language"))
        say = load_translations().language("es")
        await self.taps(say("language.name"), say("language.done", name=say("language.name")), asked)
        asked = await self.person.answer_to(self.person.says("/delete"))
        await self.taps(say("button.delete"), say.plural("delete.songs", 1), asked)
        self.deleted = asked


class Fetcher(Impatient):
    """Fetches what could not be fetched."""

    async def misses(self) -> None:
        await self.asks()
        await self.taps(self.say.mode(Mode.SPLIT_STEM_ADVANCED))
        await self.taps(self.say.named("Bass"), "✅")

    async def source_quota(self) -> None:
        assert len(self.person.audios()) == 1
        await self.taps(self.say("button.fetch_again"))
        await self.person.sees(lambda: len(self.person.audios()) == 2)


class Canceller(Impatient):
    """Cancels a song before picking a mode."""

    async def cancels(self) -> None:
        await self.asks()
        await self.taps(self.say("button.cancel"), "✖️")


async def test_what_is_tapped_twice_at_once_comes_once(stage: Stage) -> None:
    provider = stage.provider
    choosers = [Chooser(stage, language, "Choice") for language in LANGUAGES]
    packers = [Packer(stage, language, "Pack") for language in LANGUAGES]
    listers = [Lister(stage, language, "List") for language in LANGUAGES]
    leavers = [Leaver(stage, language, "Leave") for language in LANGUAGES]
    fetchers = [Fetcher(stage, language, "Fetch") for language in LANGUAGES]
    cancellers = [Canceller(stage, language, "Cancel") for language in LANGUAGES]

    provider.refusal = (500, "no")
    await asyncio.gather(*(person.fails() for person in packers), *(person.fails() for person in listers))
    provider.refusal = None
    provider.broken_stems = {"remove": 404}
    await asyncio.gather(*(person.misses() for person in fetchers))
    provider.broken_stems = {}
    provider.answers_by_itself = False
    await asyncio.gather(*(person.begins() for person in listers))
    provider.answers_by_itself = True
    await asyncio.gather(
        *(person.chooses() for person in choosers),
        *(person.packs() for person in packers),
        *(person.stops_and_repeats() for person in listers),
        *(person.leaves() for person in leavers),
        *(person.source_quota() for person in fetchers),
        *(person.cancels() for person in cancellers),
    )
    await stage.jobs_rest()
    await stage.tasks_rest()
    assert [person.kinds() for person in choosers] == [{"audio": 4, "text": 2}] * 2
    assert [person.kinds() for person in packers] == [{"audio": 2, "document": 1, "text": 1, "voice": 2}] * 2
    assert [person.kinds() for person in listers] == [{"audio": 2, "text": 3}] * 2
    # the song, what was sent again, and an answer to each command
    assert [person.kinds() for person in leavers] == [{"audio": 4, "text": 5}] * 2
    assert [person.kinds() for person in fetchers] == [{"audio": 2, "text": 1}] * 2
    assert [person.kinds() for person in cancellers] == [{"text": 1}] * 2
    counted = load_translations().language("es").plural("delete.songs", 1)
    assert all(person.deleted.text.startswith(counted) for person in leavers)
    types = [create["type"] for create in provider.creates]
    assert types.count("split_stem_advanced") == 4
    assert types.count("separate_vocal") == 10

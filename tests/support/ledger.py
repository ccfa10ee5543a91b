"""Songs that people send while something breaks, and the count of stems that are missing or repeated."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from functools import partial
from typing import Any

from chat import Person
from deployment import Deployment
from provider import SPLIT_FIELDS, Provider

from sandbox.telegram.chats import Message
from stemdrop.storage.connection import connect
from stemdrop.storage.keys import SPENT

VOCALS, ALL_STEMS = 0, 1
_CHOOSING, _DONE, _FAILED, _CANCELLED = "🎵 “", "✅", "⚠️", "✖️"
# Tasks are run again for some minutes, and the answer to an album is awaited for five minutes.
WAIT_S = 900.0
# Longer than another worker takes to take over the tasks of a dead one.
IMPATIENT_S = 30.0


@dataclass
class Play:
    """One song of one person, who picks a mode.

    `stems` is the number of stems that must arrive, `packs` that of ZIPs and voice messages. With `is_alone`
    the song has the chat, which may have become another one, for itself.
    """

    person: Person
    title: str
    mode: int
    stems: int
    song: Message | None = None
    packs: int = 0
    is_alone: bool = False

    @property
    def shown(self) -> list[Message]:
        """The bot's messages that answer this song."""
        shown = self.person.telegram.bot_messages(self.person.chat_id)
        return [message for message in shown if self.is_alone or message.reply_to is self.song]

    @property
    def texts(self) -> list[Message]:
        """The text messages among them: one, unless it was sent in the very moment of a kill."""
        return [message for message in self.shown if message.kind == "text"]

    @property
    def is_over(self) -> bool:
        """Whether the user has been told how the song ended."""
        return any(message.text.startswith((_DONE, _FAILED, _CANCELLED)) for message in self.texts)

    @property
    def is_explained(self) -> bool:
        """Whether the song failed, and the user has been told so."""
        return not self.is_done and any(message.text.startswith(_FAILED) for message in self.texts)

    @property
    def is_cancelled(self) -> bool:
        """Whether the user has been told that the song is cancelled."""
        return any(message.text.startswith(_CANCELLED) for message in self.texts)

    @property
    def is_done(self) -> bool:
        """Whether the user has been told that the stems are there."""
        return any(message.text.startswith(_DONE) for message in self.texts)

    @property
    def titles(self) -> Counter[str]:
        """The titles of the song's stems in the chat, and how often each is there."""
        media = [message.media for message in self.shown if message.kind in ("audio", "document")]
        return Counter(str(file["title"]) for file in media if file and "title" in file)

    @property
    def packed(self) -> int:
        """The number of ZIPs and voice messages in the chat."""
        files = [message for message in self.shown if message.kind in ("voice", "document")]
        return sum("title" not in (file.media or {}) for file in files)


@dataclass
class Account:
    """Counts of songs, and of stems that are missing or repeated."""

    songs: int = 0
    explained: int = 0
    lost: int = 0  # stems that did not come without an explanation; all stems of a song that never ends
    twice: int = 0  # stems that came again
    shown_twice: int = 0  # messages of a job that came again
    paid_twice: int = 0  # paid create calls beyond one per job, at whichever provider
    notes: list[str] = field(default_factory=list)

    def __add__(self, other: "Account") -> "Account":
        return Account(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


class Ledger:
    """Plays songs on a deployment, all of different people, and draws up the account."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.plays: list[Play] = []

    def person(self) -> Person:
        """Add a person who waits for as long as it takes."""
        person = self.deployment.person(f"Person {len(self.plays) + 1}")
        person.wait_s = WAIT_S
        return person

    async def play(
        self,
        mode: int = VOCALS,
        *,
        stems: int | None = None,
        title: str = "",
        person: Person | None = None,
        kind: str | None = None,
        album: str | None = None,
    ) -> Play:
        """Let a person, by default a new one, send a song and pick a mode; returns when that was seen."""
        play = await self.send(mode, stems=stems, title=title, person=person, kind=kind, media_group_id=album)
        await self.pick(play)
        return play

    async def send(
        self,
        mode: int,
        *,
        stems: int | None = None,
        title: str = "",
        person: Person | None = None,
        **how: str | None,
    ) -> Play:
        """Let a person send a song that is to be split in this way; returns when the bot has answered."""
        number = len(self.plays) + 1
        person = person or self.person()
        if stems is None:
            stems = 2 if mode == VOCALS or self.deployment.provider.few_stems else len(SPLIT_FIELDS)
        play = Play(person, title or f"Song {number}", mode, stems)
        self.plays.append(play)
        play.song = await person.sends(self.deployment.song(play.title), **how)
        await person.sees(lambda: play.texts)
        return play

    async def play_all(self, modes: Sequence[int]) -> list[Play]:
        """Play several songs at once."""
        return list(await asyncio.gather(*(self.play(mode) for mode in modes)))

    async def pick(self, play: Play) -> None:
        """Tap the mode repeatedly, as impatient people do, until the message shows that it was understood."""
        while any(message.text.startswith(_CHOOSING) for message in play.texts):
            menu = play.texts[-1]
            if menu.text.startswith(_CHOOSING):
                data = menu.buttons[play.mode]["callback_data"]
                self.deployment.telegram.tap(menu.chat.id, menu.message_id, data, user_id=play.person.id)
            for _ in range(200):
                if play.is_over or not menu.text.startswith(_CHOOSING):
                    return
                await asyncio.sleep(0.05)

    async def press(self, play: Play, label: str, effect: Callable[[], object]) -> None:
        """Tap the button whose label contains `label` until `effect` returns something true."""
        telegram = self.deployment.telegram

        def shown() -> list[tuple[Message, str]]:
            buttons = ((menu, button) for menu in play.texts for button in menu.buttons)
            found = ((menu, button) for menu, button in buttons if label in button["text"])
            return [(menu, str(button["callback_data"])) for menu, button in found]

        while not effect():
            await telegram.wait_for(lambda: effect() or shown(), timeout_s=WAIT_S)
            for menu, data in shown()[-1:]:
                telegram.tap(menu.chat.id, menu.message_id, data, user_id=play.person.id)
            with suppress(TimeoutError):
                await telegram.wait_for(effect, timeout_s=IMPATIENT_S)

    async def over(self, plays: Sequence[Play] | None = None) -> None:
        """Wait until the users of these songs (of all) have been told the end of each."""
        for play in self.plays if plays is None else plays:
            await play.person.sees(partial(getattr, play, "is_over"))

    async def all_well(self, until: Callable[[], Awaitable[None]] | None = None) -> None:
        """Wait until all songs are over and nothing waits or runs any more."""
        await (until or self.over)()
        await self.deployment.jobs_rest(WAIT_S)
        await self.deployment.tasks_rest(WAIT_S)

    def account(self) -> Account:
        """Return the counts; `notes` name each irregularity."""
        account = Account(songs=len(self.plays))
        for play in self.plays:
            titles = play.titles
            if play.is_explained:
                account.explained += 1
                account.notes.append(f"{play.title}: explained, {play.texts[-1].text}")
            elif not play.is_done or len(titles) < play.stems:
                account.lost += play.stems - len(titles)
                shown = [message.text for message in play.texts]
                account.notes.append(f"{play.title}: {len(titles)} of {play.stems} stems, {shown}")
            if play.packed < play.packs:
                account.lost += play.packs - play.packed
                account.notes.append(f"{play.title}: {play.packed} of {play.packs} packed")
            if twice := titles.total() - len(titles) + max(0, play.packed - play.packs):
                account.twice += twice
                account.notes.append(f"{play.title}: {twice} stems twice")
            account.shown_twice += max(0, len(play.texts) - 1)
        jobs = Counter(_job_of(create["audioUrl"]) for _, create in self.paid)
        account.paid_twice = jobs.total() - len(jobs)
        return account

    @property
    def paid(self) -> list[tuple[Provider, dict[str, Any]]]:
        """Return the create calls that a provider was paid for, with the provider."""
        return [(provider, create) for provider in self.deployment.providers for create in provider.charged]

    async def miscounted(self) -> str:
        """Compare the spent credits of all accounts with the providers' charges; '' if they are equal.

        A song whose answer was lost counts as charged.
        """
        charged = sum(provider.price(create) for provider, create in self.paid)
        accepted = {_job_of(create["audioUrl"]) for _, create in self.paid}
        async with self.deployment.store() as store, connect(self.deployment.redis_url) as redis:
            accounts = {play.person.id for play in self.plays}
            jobs = {job.id: job for account in accounts for job in await store.jobs_of(account)}
            spent = 0
            async for key in redis.scan_iter(match=SPENT.format("*", "????-??-??")):
                spent += sum(int(credits) for credits in await redis.hvals(key))
        lost = [job for job in jobs.values() if job.failure and job.failure.code == "lost"]
        charged += sum(job.price for job in lost if job.id not in accepted)
        return "" if spent == charged else f"{spent} credits are spent, {charged} were charged"


def _job_of(source_url: str) -> str:
    """Return the job of a source: `…/source/<job>.<time>.<signature>/audio.mp3`, or `…/<job>.mp3`."""
    *_, folder, name = source_url.split("/")
    return (name if folder == "uploads" else folder).partition(".")[0]

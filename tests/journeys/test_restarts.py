"""All processes are killed and started again after each step of a song, and each stem arrives once."""

import asyncio
from pathlib import Path

from chat import Person
from deployment import Deployment, open_deployment

from sandbox.telegram.chats import Message

VOCALS = 0


class Walk:
    """A song's steps, one by one."""

    def __init__(self, deployment: Deployment, person: Person) -> None:
        self.deployment = deployment
        self.person = person
        self.menu: Message

    async def seen(self) -> None:
        _, self.menu = await self.person.asks(self.deployment.song(f"Steps {self.person.id}"))

    async def picked(self) -> None:
        await self.person.taps(self.menu, VOCALS)
        await self.deployment.accepted(2)

    async def delivered(self) -> None:
        self.deployment.provider.hold_stems.set()
        self.menu = await self.person.shows(self.menu, "✅")

    async def another_way(self) -> None:
        self.deployment.provider.hold_stems.clear()
        await self.person.taps(self.menu, 0)
        await self.person.sees(lambda: len(self.deployment.texts(self.person)) == 2)
        # a message that was sent and not yet noted when its process died would be sent again
        await self.person.sees(lambda: self.deployment.texts(self.person)[1].history)


async def test_songs_survive_a_kill_after_every_step(tmp_path: Path) -> None:
    async with open_deployment(tmp_path) as deployment:
        deployment.ordinary = ("the client disconnected",)  # as a killed process does
        deployment.provider.answers_by_itself = False
        deployment.provider.few_stems = True
        walks = [Walk(deployment, deployment.person(language=language)) for language in ("en", "ru")]

        async def call_back() -> None:
            # an album that was sent and not yet noted when its process died would be sent again
            deployment.provider.hold_stems.clear()
            answers = [await deployment.provider.call_back(number) for number in (0, 1)]
            assert [answer.status_code for answer in answers] == [200, 200]
            deployment.provider.answers_by_itself = True

        steps = [
            *([walk.seen for walk in walks], [walk.picked for walk in walks]),
            *([call_back], [walk.delivered for walk in walks], [walk.another_way for walk in walks]),
        ]
        for together in steps:
            up = (await deployment.start("up"))[0]
            await asyncio.gather(*(step() for step in together))
            up.kill()
            await deployment.end_leases()
        deployment.provider.hold_stems.set()
        await deployment.start("up")
        await deployment.jobs_rest()
        assert [len(walk.person.audios()) for walk in walks] == [4, 4]
        assert [len(deployment.texts(walk.person)) for walk in walks] == [2, 2]
        types = [create["type"] for create in deployment.provider.creates]
        assert types == ["separate_vocal", "separate_vocal", "split_stem", "split_stem"]

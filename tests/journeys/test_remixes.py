"""Remixes that are ordered in the chat survive a killed worker, and each comes once."""

import re
from pathlib import Path

from chat import Person
from deployment import Deployment, open_deployment

from sandbox.telegram.chats import Message
from sandbox.telegram.faults import FaultKind
from stemdrop.domain.jobs import JobState

VOCALS = 0
WITHOUT = "Without vocals"


async def desk_of(deployment: Deployment, person: Person, title: str) -> Message:
    """A song is split, and its desk opened."""
    _, menu = await person.asks(deployment.song(title), VOCALS)
    menu = await person.shows(menu, "✅")
    await person.presses(menu, "Remix")
    await person.sees(lambda: deployment.texts(person)[-1].text.startswith("🎚 Remix of"))
    return deployment.texts(person)[-1]


def remixes(person: Person) -> list[str]:
    """What came after the two stems."""
    return person.titles()[2:]


async def test_the_remixes_of_a_killed_worker_come_once_and_cancelled_ones_do_not(tmp_path: Path) -> None:
    async with open_deployment(tmp_path, "bot", "webhook") as deployment:
        worker = await deployment.environment.start("worker", "worker-1")
        alice, bob, carol, dave = (deployment.person(name) for name in ("Alice", "Bob", "Carol", "Dave"))
        desks = [await desk_of(deployment, it, f"Song of {it.id}") for it in (alice, bob, carol, dave)]
        # a pack that has come
        await dave.presses(desks[3], "Practice pack")
        await dave.sees(lambda: any("As songs" in button["text"] for button in desks[3].buttons))
        await dave.presses(desks[3], "As songs")
        await dave.sees(lambda: len(remixes(dave)) == 4)
        # one whose file is on its way into the chat
        sending = deployment.telegram.faults.add(FaultKind.TIMEOUT_BEFORE, method="sendAudio", chat_id=bob.id)
        await bob.presses(desks[1], WITHOUT)
        await deployment.telegram.wait_for(lambda: sending.hits)
        # two whose stems are on their way to the worker
        slow = deployment.telegram.faults.add(FaultKind.SLOW, method="download", times=2, bytes_per_s=1)
        for person, desk in ((alice, desks[0]), (carol, desks[2])):
            await person.presses(desk, WITHOUT)
            await person.sees(lambda person=person: deployment.texts(person)[-1].text.startswith("🎚 Making"))
        await deployment.telegram.wait_for(lambda: slow.hits == 2)
        worker.kill()
        making = deployment.texts(carol)[-1]
        await carol.presses(making, "Cancel")
        await deployment.environment.start("worker", "worker-2")

        for person in (alice, bob):
            await person.sees(lambda person=person: remixes(person))
        await carol.sees(lambda: making.text.startswith("✖️ Cancelled"))
        await deployment.tasks_rest()
        assert remixes(alice) == [f"Song of {alice.id} (without vocals)"]
        assert remixes(bob) == [f"Song of {bob.id} (without vocals)"]
        assert remixes(carol) == []
        speeds = [re.sub(r".*\((.*)\)", r"\1", title) for title in remixes(dave)]
        assert speeds == ["70%", "80%", "90%", "100%"]
        for person in (alice, bob, dave):
            assert not any(text.text.startswith("🎚 Making") for text in deployment.texts(person))
        assert len(deployment.provider.creates) == 4
        async with deployment.store() as store:
            assert await store.open_jobs() == []
            assert {job.state for job in await store.jobs_of(alice.id)} == {JobState.DELIVERED}

"""Bot, webhook, worker, Redis or all of them end during a song: no stem is missing, paid or sent twice."""

from pathlib import Path

import httpx
import pytest
from deployment import Deployment, open_deployment, until

from sandbox.telegram.faults import FaultKind

VOCALS, ALL_STEMS = 0, 1
# Twelve stems go in two albums of six; these are the second.
SECOND_ALBUM = frozenset({"percussion", "strings", "synth", "fx", "brass", "woodwinds"})


async def test_a_killed_bot_and_a_killed_webhook_miss_nothing(tmp_path: Path) -> None:
    async with open_deployment(tmp_path, "worker") as deployment:
        bot = await deployment.environment.start("bot", "bot-1")
        webhook = await deployment.environment.start("webhook", "webhook-1")
        alice, bob, carol = (deployment.person(name) for name in ("Alice", "Bob", "Carol"))
        deployment.provider.answers_by_itself = False
        _, menu_carol = await carol.asks(deployment.song("Knock"), VOCALS)
        await deployment.separating()
        answer = deployment.telegram.faults.add(
            FaultKind.TIMEOUT_BEFORE, method="sendMessage", chat_id=alice.id
        )
        told = await alice.sends(deployment.song("Told"))
        # Telegram counts the update as received, the bot is answering, and dies of it
        await deployment.telegram.wait_for(lambda: answer.hits and not deployment.telegram.updates.pending)
        bot.kill()
        webhook.kill()
        not_told = await bob.sends(deployment.song("Not Told"))
        with pytest.raises(httpx.ConnectError):
            await deployment.provider.call_back()

        await deployment.environment.start("webhook", "webhook-2")
        assert (await deployment.provider.call_back()).status_code == 200
        menu_carol = await carol.shows(menu_carol, "✅")
        deployment.provider.answers_by_itself = True
        await deployment.environment.start("bot", "bot-2")
        for person, sent in ((bob, not_told), (alice, told)):
            menu = await person.answer_to(sent)
            await person.taps(menu, VOCALS)
            menu = await person.shows(menu, "✅")
            assert [shown for shown in person.after(sent) if shown.kind == "text"] == [menu]
        assert [len(person.audios()) for person in (alice, bob, carol)] == [2, 2, 2]
        assert len(deployment.provider.creates) == 3


async def test_a_redis_killed_while_separating_and_while_delivering_costs_nothing(tmp_path: Path) -> None:
    async with open_deployment(tmp_path, "up") as deployment:
        # what Redis' absence does to tasks is for the operator's log
        deployment.ordinary = ("StoreUnavailable", "Redis", "sweep failed", "Traceback")
        redis, provider = deployment.environment.redis, deployment.provider
        provider.answers_by_itself = False
        provider.hold_stems.clear()
        alice = deployment.person()
        _, menu = await alice.asks(deployment.song("Blackout"), VOCALS)
        await deployment.separating()
        redis.kill()
        assert (await provider.call_back()).status_code == 503
        redis.start()
        assert (await provider.call_back()).status_code == 200
        await until(lambda: len(provider.stem_requests) == 2)
        redis.kill()
        provider.hold_stems.set()
        redis.start()
        menu = await alice.shows(menu, "✅")
        assert alice.titles() == ["Blackout (Vocals)", "Blackout (Instrumental)"]
        bob = deployment.person("Bob")
        provider.answers_by_itself = True
        _, menu = await bob.asks(deployment.song("Daylight"), VOCALS)
        menu = await bob.shows(menu, "✅")
        assert len(alice.audios()) == len(bob.audios()) == 2
        assert len(provider.creates) == 2


async def between_two_albums(deployment: Deployment, log: Path) -> None:
    """Wait until the first album has arrived and is ticked off, and the second is being fetched."""
    await until(
        lambda: "sent vocals" in log.read_text() and set(deployment.provider.stem_requests) & SECOND_ALBUM
    )


async def test_the_tasks_of_a_killed_worker_are_taken_over(tmp_path: Path) -> None:
    async with open_deployment(tmp_path, "bot", "webhook") as deployment:
        worker = await deployment.environment.start("worker", "worker-1")
        provider = deployment.provider
        provider.held_stems = SECOND_ALBUM
        provider.hold_stems.clear()
        alice, bob, carol = (deployment.person(name) for name in ("Alice", "Bob", "Carol"))
        _, menu = await alice.asks(deployment.song("Between"), ALL_STEMS)
        await between_two_albums(deployment, worker.log)
        upload = deployment.telegram.faults.add(
            FaultKind.TIMEOUT_BEFORE, method="sendMediaGroup", chat_id=carol.id
        )
        _, menu_carol = await carol.asks(deployment.song("Uploading"), VOCALS)
        await deployment.telegram.wait_for(lambda: upload.hits)
        provider.answers_by_itself = False
        provider.hold_answer.clear()
        _, menu_bob = await bob.asks(deployment.song("In Flight"), VOCALS)
        await deployment.accepted(3)

        worker.kill()
        first_album = [message.message_id for message in alice.audios()]
        assert len(first_album) == 6
        provider.hold_answer.set()
        provider.hold_stems.set()
        await deployment.environment.start("worker", "worker-2")

        assert (await provider.call_back()).status_code == 200
        for person, shown in ((alice, menu), (bob, menu_bob), (carol, menu_carol)):
            await person.shows(shown, "✅")
        assert len(set(alice.titles())) == len(alice.titles()) == 12
        assert [message.message_id for message in alice.audios()][:6] == first_album
        assert bob.titles() == ["In Flight (Vocals)", "In Flight (Instrumental)"]
        assert carol.titles() == ["Uploading (Vocals)", "Uploading (Instrumental)"]
        assert len(provider.creates) == 3


async def test_sigterm_ends_everything_in_time_and_after_a_restart_all_goes_on(tmp_path: Path) -> None:
    async with open_deployment(tmp_path) as deployment:
        up = await deployment.environment.start("up", "up-1")
        provider = deployment.provider
        provider.held_stems = SECOND_ALBUM
        provider.hold_stems.clear()
        alice, bob, carol, dave = (deployment.person(name) for name in ("Alice", "Bob", "Carol", "Dave"))
        _, menu = await alice.asks(deployment.song("Delivering"), ALL_STEMS)
        await between_two_albums(deployment, up.log)
        _, menu_bob = await bob.asks(deployment.song("Choosing"))
        provider.refusal = (455, "maintenance")
        _, menu_carol = await carol.asks(deployment.song("Failed"), VOCALS)
        await carol.shows(menu_carol, "⚠️")
        provider.refusal = None
        provider.answers_by_itself = False
        _, menu_dave = await dave.asks(deployment.song("Separating"), VOCALS)
        await deployment.separating()

        assert await up.stop(timeout_s=30) == 0
        await deployment.end_leases()
        assert len(alice.audios()) == 6
        deployment.environment.redis.stop()
        deployment.environment.redis.start()
        provider.hold_stems.set()
        await deployment.environment.start("up", "up-2")

        assert (await provider.call_back()).status_code == 200
        provider.answers_by_itself = True
        await bob.taps(menu_bob, VOCALS)
        await carol.taps(menu_carol, 0)
        for person, shown in ((bob, menu_bob), (carol, menu_carol), (dave, menu_dave)):
            await person.shows(shown, "✅")
            assert len(person.audios()) == 2
        menu = await alice.shows(menu, "✅ “Delivering”: 12 stems")
        assert len(set(alice.titles())) == len(alice.titles()) == 12
        assert len(provider.creates) == 4

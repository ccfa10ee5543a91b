"""Bot, webhook, Redis or all of it die amid a song, and come back."""

from pathlib import Path

import httpx
import pytest
from stage import open_stage, until

from sandbox.faults import FaultKind

VOCALS = 0


async def test_a_killed_bot_and_a_killed_webhook_miss_nothing(tmp_path: Path) -> None:
    async with open_stage(tmp_path, "worker") as stage:
        bot = await stage.world.start("bot", "bot-1")
        webhook = await stage.world.start("webhook", "webhook-1")
        alice, bob, carol = (stage.person(name) for name in ("Alice", "Bob", "Carol"))
        stage.provider.answers_by_itself = False
        _, menu_carol = await carol.asks(stage.song("Knock"), VOCALS)
        await carol.shows(menu_carol, "⏳")
        answer = stage.telegram.faults.add(FaultKind.TIMEOUT_BEFORE, method="sendMessage", chat_id=alice.id)
        told = await alice.sends(stage.song("Told"))
        # Telegram counts the update as received, the bot is answering, and dies of it
        await stage.telegram.wait_for(lambda: answer.hits and not stage.telegram.updates.pending)
        bot.kill()
        webhook.kill()
        not_told = await bob.sends(stage.song("Not Told"))
        with pytest.raises(httpx.ConnectError):
            await stage.provider.call_back()

        await stage.world.start("webhook", "webhook-2")
        assert (await stage.provider.call_back()).status_code == 200
        await carol.shows(menu_carol, "✅")
        stage.provider.answers_by_itself = True
        await stage.world.start("bot", "bot-2")
        for person, sent in ((bob, not_told), (alice, told)):
            menu = await person.answer_to(sent)
            await person.taps(menu, VOCALS)
            await person.shows(menu, "✅")
            assert [shown for shown in person.after(sent) if shown.kind == "text"] == [menu]
        assert [len(person.audios()) for person in (alice, bob, carol)] == [2, 2, 2]
        assert len(stage.provider.creates) == 3


async def test_a_redis_killed_while_separating_and_while_delivering_costs_nothing(tmp_path: Path) -> None:
    async with open_stage(tmp_path, "up") as stage:
        # what Redis' absence does to tasks is for the operator's log
        stage.ordinary = ("StoreUnavailable", "Redis", "sweep failed", "Traceback")
        redis, provider = stage.world.redis, stage.provider
        provider.answers_by_itself = False
        provider.hold_stems.clear()
        alice = stage.person()
        _, menu = await alice.asks(stage.song("Blackout"), VOCALS)
        await alice.shows(menu, "⏳")
        redis.kill()
        assert (await provider.call_back()).status_code == 503
        redis.start()
        assert (await provider.call_back()).status_code == 200
        await until(lambda: len(provider.stem_requests) == 2)
        redis.kill()
        provider.hold_stems.set()
        redis.start()
        await alice.shows(menu, "✅")
        assert alice.titles() == ["Blackout (Vocals)", "Blackout (Instrumental)"]
        bob = stage.person("Bob")
        provider.answers_by_itself = True
        _, menu = await bob.asks(stage.song("Daylight"), VOCALS)
        await bob.shows(menu, "✅")
        assert len(alice.audios()) == len(bob.audios()) == 2
        assert len(provider.creates) == 2


async def test_buttons_work_and_jobs_go_on_after_everything_was_restarted(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        processes = await stage.start("bot", "webhook", "worker")
        stage.provider.answers_by_itself = False
        alice, bob, carol = (stage.person(name) for name in ("Alice", "Bob", "Carol"))
        _, menu = await alice.asks(stage.song("Choosing"))
        _, menu_bob = await bob.asks(stage.song("Separating"), VOCALS)
        await bob.shows(menu_bob, "⏳")
        stage.provider.refusal = (455, "maintenance")
        _, menu_carol = await carol.asks(stage.song("Failed"), VOCALS)
        await carol.shows(menu_carol, "⚠️")
        for process in processes:
            assert await process.stop(timeout_s=30) == 0
        redis = stage.world.redis
        redis.stop()
        redis.start()
        await stage.world.start("up")
        stage.provider.refusal = None
        await stage.provider.call_back()
        stage.provider.answers_by_itself = True
        await alice.taps(menu, VOCALS)
        await carol.taps(menu_carol, 0)
        for person, shown in ((alice, menu), (bob, menu_bob), (carol, menu_carol)):
            await person.shows(shown, "✅")
            assert len(person.audios()) == 2

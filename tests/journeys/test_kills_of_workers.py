"""What is in hand when a worker dies is finished by another: nothing missing, nothing paid or sent twice."""

from pathlib import Path

from stage import Stage, open_stage, until

from sandbox.faults import FaultKind

VOCALS, ALL_STEMS = 0, 1
# Twelve stems go in two albums of six; these are the second.
SECOND_ALBUM = frozenset({"percussion", "strings", "synth", "fx", "brass", "woodwinds"})


async def between_two_albums(stage: Stage, log: Path) -> None:
    """Wait until the first album has arrived and is ticked off, and the second is being fetched."""
    await until(lambda: "sent vocals" in log.read_text() and set(stage.provider.stem_requests) & SECOND_ALBUM)


async def test_what_a_killed_worker_had_in_hand_is_taken_over(tmp_path: Path) -> None:
    async with open_stage(tmp_path, "bot", "webhook") as stage:
        worker = await stage.world.start("worker", "worker-1")
        provider = stage.provider
        provider.held_stems = SECOND_ALBUM
        provider.hold_stems.clear()
        alice, bob, carol = (stage.person(name) for name in ("Alice", "Bob", "Carol"))
        _, menu = await alice.asks(stage.song("Between"), ALL_STEMS)
        await between_two_albums(stage, worker.log)
        upload = stage.telegram.faults.add(
            FaultKind.TIMEOUT_BEFORE, method="sendMediaGroup", chat_id=carol.id
        )
        _, menu_carol = await carol.asks(stage.song("Uploading"), VOCALS)
        await stage.telegram.wait_for(lambda: upload.hits)
        provider.answers_by_itself = False
        provider.hold_answer.clear()
        _, menu_bob = await bob.asks(stage.song("In Flight"), VOCALS)
        await stage.accepted(3)

        worker.kill()
        first_album = [message.message_id for message in alice.audios()]
        assert len(first_album) == 6
        provider.hold_answer.set()
        provider.hold_stems.set()
        await stage.world.start("worker", "worker-2")

        await bob.shows(menu_bob, "⏳ I handed in “In Flight”, but the answer got lost")
        assert (await provider.call_back()).status_code == 200
        for person, shown in ((alice, menu), (bob, menu_bob), (carol, menu_carol)):
            await person.shows(shown, "✅")
        assert len(set(alice.titles())) == len(alice.titles()) == 12
        assert [message.message_id for message in alice.audios()][:6] == first_album
        assert bob.titles() == ["In Flight (Vocals)", "In Flight (Instrumental)"]
        assert carol.titles() == ["Uploading (Vocals)", "Uploading (Instrumental)"]
        assert len(provider.creates) == 3


async def test_sigterm_amid_a_delivery_ends_in_time_and_the_rest_comes_afterwards(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        up = await stage.world.start("up", "up-1")
        stage.provider.held_stems = SECOND_ALBUM
        stage.provider.hold_stems.clear()
        alice = stage.person()
        _, menu = await alice.asks(stage.song("Evening"), ALL_STEMS)
        await between_two_albums(stage, up.log)
        assert await up.stop(timeout_s=30) == 0
        assert len(alice.audios()) == 6
        stage.provider.hold_stems.set()
        await stage.world.start("up", "up-2")
        await alice.shows(menu, "✅ “Evening”: 12 stems")
        assert len(set(alice.titles())) == len(alice.titles()) == 12

"""`kill -9` of everything, at random moments and at every named point."""

import asyncio
from contextlib import suppress

from case import Case
from ledger import ALL_STEMS, VOCALS, Account, Ledger
from stage import Stage, until

# What Telegram was given and did not say so in time may come again: the one album in flight.
ALBUM = 6
# A result is stored and its delivery not ordered yet; an album is in the chat and nobody knows it yet.
QUICK = ("JobStore.receive:after", "JobStore.tick:before")


async def kill(stage: Stage, number: int) -> None:
    """One of the stage's processes, and start it again."""
    victim = stage.processes[number]
    victim.kill()
    name = victim.log.stem
    stage.processes[number] = await stage.world.start(victim.arguments[0], name, stage.settings)


async def test_at_random_moments(case: Case) -> None:
    songs, kills = case.times(4, 100), case.times(6, 200)
    stage, ledger = await case.open("bot", "webhook", "worker", "worker")
    stage.provider.few_stems = False
    chance = case.chance
    modes = [(VOCALS, ALL_STEMS)[number % 2] for number in range(songs)]
    # songs come as long as there are kills
    pauses = sorted(chance.uniform(0, kills) for _ in modes)
    playing: list[asyncio.Task[object]] = []
    for number in range(kills):
        playing += [
            asyncio.create_task(ledger.play(mode))
            for mode, at in zip(modes, pauses, strict=True)
            if number <= at < number + 1
        ]
        await asyncio.sleep(chance.uniform(0.1, 1.5))
        await kill(stage, chance.randrange(len(stage.processes)))
    await asyncio.gather(*playing)
    case.healed()
    fault = f"`kill -9` of bot, webhook or worker at random, {songs} songs of 2 and 12 stems"
    await case.settle(ledger, fault, kills, twice=ALBUM * kills, explained=None)


async def scenario(ledger: Ledger) -> None:
    """What passes every point on a song's way: two stems, twelve, and two that Telegram keeps already."""
    first, _ = await asyncio.gather(ledger.play(VOCALS, title="First"), ledger.play(ALL_STEMS))
    await ledger.over([first])
    await ledger.play(VOCALS, title="First")


async def points_of(case: Case) -> list[str]:
    """All points that the scenario passes, as the code has them."""
    path = case.folder / "points"
    async with case.stage() as stage:
        stage.settings["STEMDROP_POINTS"] = str(path)
        await stage.start("up")
        ledger = Ledger(stage)
        await scenario(ledger)
        await ledger.all_well()
    return sorted(set(path.read_text().split()))


async def die_at(case: Case, point: str) -> Account:
    """A scenario whose process kills itself there, once; another takes over."""
    async with case.stage(JOB_TIMEOUT_S="120") as stage:
        ledger = Ledger(stage)
        stage.provider.few_stems = False
        stage.settings["STEMDROP_DIE_AT"] = point
        playing: asyncio.Task[None] | None = None
        with suppress(Exception):  # some points are passed before it is ready
            await stage.start("up")
            playing = asyncio.create_task(scenario(ledger))
            await until(lambda: not stage.processes[0].is_running)
        stage.settings.clear()
        await stage.start("up")
        await (playing or scenario(ledger))
        await ledger.all_well()
        account = ledger.account()
        account.notes = [f"{point}: {note}" for note in account.notes]
        return account


async def test_at_every_named_point(case: Case) -> None:
    points = await points_of(case)
    assert len(points) > 50
    assert set(points) > set(QUICK)
    chosen = points if case.is_full else QUICK
    at_once = asyncio.Semaphore(case.times(3, 5))

    async def one(point: str) -> Account:
        async with at_once:
            return await die_at(case, point)

    accounts = await asyncio.gather(*(one(point) for point in chosen))
    case.healed()
    total = sum(accounts, Account())
    case.record("points", points)
    case.row(f"`kill -9` at each of {len(chosen)} named points", len(chosen), total)
    assert (total.lost, total.paid_twice) == (0, 0), total.notes
    # It was dead while the provider came for the song, which does not come again; or it died between noting
    # that the API is asked and asking, which nobody else can tell from a lost answer.
    told = [note for note in total.notes if "explained" in note]
    assert [note for note in told if "code 451" not in note and "code lost" not in note] == []
    # two songs are on their way when it dies, each with an album in flight
    assert all(account.twice <= ALBUM + 2 for account in accounts), total.notes

"""`kill -9` of everything, at random moments and at every named point."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from deployment import Deployment, until
from fault_case import Case
from kill_points import steps
from ledger import ALL_STEMS, VOCALS, Account, Ledger
from scenarios import SCENARIOS

# What Telegram was given and did not say so in time may come again: the one album in flight.
ALBUM = 6
# The points of the short form: a result is stored and its delivery not ordered yet; an album is in the chat
# and not noted yet; a failed job has a successor and does not know it.
QUICK = {
    "songs": ("JobStore.receive:after", "JobStore.tick:before"),
    "trouble": ("JobStore.mark_retried:before",),
}
# The steps by which another provider is asked. A job passes them in the same order, and some of them twice.
OF_CALLS = (
    *("JobStore.begin_create", "JobStore.not_accepted", "JobStore.accept", "JobStore.receive"),
    *("JobStore.begin_delivery", "JobStore.fail_over", "SeparationClient.create", "FailOver.run"),
    *("Circuits.failed", "Circuits.succeeded"),
)
# No scenario passes these steps, which change nothing: lists and facts for users and operators.
READS = {
    *(
        "JobStore.added_for",
        "JobStore.allowance",
        "JobStore.beginning",
        "JobStore.delivered_jobs",
        "JobStore.failed_jobs",
    ),
    *("JobStore.history", "JobStore.incomplete_jobs", "JobStore.place", "JobStore.runs", "StemCache.count"),
    *("JobStore.open_jobs", "Remixes.exists", "Telegram.getChat"),
    *("Circuits.all", "Circuits.get"),
    "Telegram.sendChatAction",  # cancelled when the song has been inspected meanwhile
}
# Steps that change one thing on which nothing else depends. The person who ordered them repeats
# them, and recovery repeats `leave` and `drop`; `uncount` lets one more run be made.
REPEATED = {
    *("StemCache.forget_all", "JobStore.dismiss", "JobStore.reopen", "JobStore.leave"),
    *("Remixes.reopen", "Remixes.drop", "Remixes.uncount"),
    *("Engine.add(measure)", "StemCache.put_measures"),
}


async def kill(deployment: Deployment, number: int) -> None:
    """Kill one of the deployment's processes and start it again."""
    victim = deployment.processes[number]
    victim.kill()
    name = victim.log.stem
    deployment.processes[number] = await deployment.environment.start(
        victim.arguments[0], name, deployment.settings
    )


@pytest.mark.full
async def test_at_random_moments(case: Case) -> None:
    songs, kills = case.times(4, 100), case.times(6, 200)
    deployment, ledger = await case.open("bot", "webhook", "worker", "worker")
    deployment.provider.few_stems = False
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
        await kill(deployment, chance.randrange(len(deployment.processes)))
    await asyncio.gather(*playing)
    case.healed()
    fault = f"`kill -9` of bot, webhook or worker at random, {songs} songs of 2 and 12 stems"
    await case.settle(ledger, fault, kills, twice=ALBUM * kills, explained=None)


async def points_of(case: Case, name: str) -> list[str]:
    """Return all points that the processes pass in the scenario, in order."""
    path, scenario = case.folder / f"points-{name}", SCENARIOS[name]
    async with case.deployment(**scenario.settings) as deployment:
        deployment.settings["STEMDROP_POINTS"] = str(path)
        await deployment.start("up")
        ledger = Ledger(deployment)
        await scenario.play(ledger)
        await ledger.all_well()
        assert await ledger.miscounted() == ""
        assert len(ledger.paid) <= scenario.orders
        account = ledger.account()
        assert (account.lost, account.twice, account.paid_twice) == (0, 0, 0), account.notes
    return path.read_text().split()


async def new_points(case: Case, name: str) -> list[str]:
    """Return the points of the scenario that no scenario before it passes."""
    names = list(SCENARIOS)
    *before, own = [await points_of(case, each) for each in names[: names.index(name) + 1]]
    return sorted(set(own).difference(*before))


async def points_of_calls(case: Case, name: str) -> list[str]:
    """Return the points of the scenario's create calls, from the first of which to what the last brings."""
    passed: Counter[str] = Counter()
    found = []
    for point in await points_of(case, name):
        passed[point] += 1
        if point.startswith(OF_CALLS):
            found.append(f"{point}#{passed[point]}")
    return found


async def die_at(case: Case, name: str, point: str) -> Account:
    """Play a scenario whose process kills itself at the point, once, and is started again."""
    scenario = SCENARIOS[name]
    async with case.deployment(**{"JOB_TIMEOUT_S": "120", **scenario.settings}) as deployment:
        ledger = Ledger(deployment)
        for provider in deployment.providers:
            provider.few_stems = False
        passed = deployment.environment.directory / "passed"
        deployment.settings |= {"STEMDROP_DIE_AT": point, "STEMDROP_POINTS": str(passed)}
        playing: asyncio.Task[None] | None = None
        try:
            await deployment.start("up")
            playing = asyncio.create_task(scenario.play(ledger))
            await until(lambda: not deployment.processes[0].is_running)
        except Exception:  # some points are passed before it is ready
            if not _is_last(passed, point):
                raise
        assert _is_last(passed, point)
        deployment.settings.clear()
        await deployment.start("up")
        await (playing or scenario.play(ledger))
        await ledger.all_well()
        account = ledger.account()
        # two jobs for one order are no less paid twice than two calls for one job
        account.paid_twice = max(account.paid_twice, len(ledger.paid) - scenario.orders)
        if miscounted := await ledger.miscounted():
            account.notes.append(f"credits: {miscounted}")
        account.notes = [f"{point}: {note}" for note in account.notes]
        return account


def _is_last(passed: Path, point: str) -> bool:
    return passed.is_file() and passed.read_text().split()[-1:] == [point.partition("#")[0]]


async def die_at_each(case: Case, name: str, points: Sequence[str]) -> None:
    at_once = asyncio.Semaphore(case.times(3, 5))

    async def one(point: str) -> Account:
        async with at_once:
            return await die_at(case, name, point)

    accounts = await asyncio.gather(*(one(point) for point in points))
    case.healed()
    total = sum(accounts, Account())
    case.row(f"`kill -9` at each of {len(points)} named points: {SCENARIOS[name].text}", len(points), total)
    assert (total.lost, total.paid_twice) == (0, 0), total.notes
    assert [note for note in total.notes if "credits:" in note] == []
    # It was dead while the provider came for the song, which does not come again; or it died between noting
    # that the API is asked and asking, which cannot be told from a lost answer.
    told = [note for note in total.notes if "explained" in note]
    assert [note for note in told if "code 451" not in note and "code lost" not in note] == []
    # two songs are on their way when it dies, each with an album in flight
    assert all(account.twice <= ALBUM + 2 for account in accounts), total.notes


@pytest.mark.full
async def test_every_step_is_passed_by_a_scenario(case: Case) -> None:
    """A new step in the code must be passed by a scenario, so that a process is killed there."""
    passed = await asyncio.gather(*(points_of(case, name) for name in SCENARIOS))
    points = set[str]().union(*passed)
    case.record("points", sorted(points))
    assert points > {f"{step}:{when}" for step in steps() - READS - REPEATED for when in ("before", "after")}
    assert points > {point for dangerous in QUICK.values() for point in dangerous}
    assert steps() >= (READS | REPEATED)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.full]) for name in SCENARIOS]
)
async def test_at_every_named_point(case: Case, name: str) -> None:
    find = points_of_calls if SCENARIOS[name].is_fail_over else new_points
    await die_at_each(case, name, await find(case, name) if case.is_full else QUICK[name])


@pytest.mark.full
async def test_between_the_create_call_and_its_task_id(case: Case) -> None:
    """Without a public URL no callback comes: a lost answer is told, and not paid for again."""
    points = ("SeparationClient.create:after", "JobStore.accept:before")[: case.times(1, 2)]
    accounts = await asyncio.gather(*(die_at(case, "packed", point) for point in points))
    case.healed()
    total = sum(accounts, Account())
    fault = "`kill -9` between the create call and its task id, without a public URL"
    case.row(fault, len(points), total)
    assert (total.lost, total.twice, total.paid_twice) == (0, 0, 0), total.notes
    assert [note for note in total.notes if "credits:" in note] == []
    assert [note for note in total.notes if "code lost" not in note] == []
    assert total.explained == len(points)

"""The engine runs a task once per key, again when needed, and never loses one to a dead worker."""

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from waits import WAIT_S

from sandbox.environment.redis_server import RedisServer
from stemdrop.errors import StoreUnavailable, TryLater
from stemdrop.log_context import add_job_fields
from stemdrop.storage.connection import connect
from stemdrop.storage.keys import TASK_RECORD, TASKS_PUT_OFF
from stemdrop.storage.snapshot import Snapshots
from stemdrop.storage.task_scripts import message
from stemdrop.tasks import docket_guards
from stemdrop.tasks.engine import ADD_TIMEOUT_S, MAX_TAKEOVERS, Engine, Periodic, Queue, Task

Handlers = Mapping[Task, Callable[[str], Awaitable[None]]]
# More than anything here takes on a slow machine.


class Runs:
    """A handler that records its arguments; its first runs raise the `failures`."""

    def __init__(self, *failures: Exception) -> None:
        self.arguments: list[str] = []
        self._failures = list(failures)
        self._changed = asyncio.Condition()

    async def __call__(self, argument: str) -> None:
        self.arguments.append(argument)
        async with self._changed:
            self._changed.notify_all()
        if self._failures:
            raise self._failures.pop(0)

    async def reach(self, count: int) -> None:
        """Wait for that many runs."""
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(lambda: len(self.arguments) >= count)


class Held(Runs):
    """A handler that waits for `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.finished = 0

    async def __call__(self, argument: str) -> None:
        await super().__call__(argument)
        await self.go.wait()
        self.finished += 1


@pytest.fixture
async def engine(redis_url: str) -> AsyncIterator[Engine]:
    async with Engine(redis_url) as running:
        yield running


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docket_guards, "LEASE_S", 1)


@asynccontextmanager
async def working(engine: Engine, handlers: Handlers, **options: Any) -> AsyncIterator[asyncio.Event]:
    """Let the engine work during the block, or until the event it yields is set."""
    stop = asyncio.Event()
    queue = options.pop("queue", Queue.DELIVERIES)
    task = asyncio.create_task(engine.work(queue, handlers, stop, **options))
    try:
        yield stop
    finally:
        stop.set()
        async with asyncio.timeout(WAIT_S):
            await task


async def settled(engine: Engine, handlers: Handlers) -> None:
    """Run every waiting task: a task that is added last has run, too."""
    last = Runs()

    async def deliver(argument: str) -> None:
        await (last if argument == "the last" else handlers[Task.DELIVER])(argument)

    async with working(engine, {**handlers, Task.DELIVER: deliver}, concurrency=1):
        await engine.add(Task.DELIVER, "the last", "the last")
        await last.reach(1)


async def test_the_reason_of_a_task_that_is_put_off_is_stored_while_it_is(
    engine: Engine, redis: Redis
) -> None:
    """Without the job's id, so that equal reasons can be counted."""
    deliver = Runs(TryLater(0.5, "job 3f2a: Telegram's flood limit"))

    async def reasons() -> dict[str, int]:
        return dict((await Snapshots(redis).take()).queues[Queue.DELIVERIES].reasons)

    await engine.add(Task.DELIVER, "job", "job")
    async with working(engine, {Task.DELIVER: deliver}), asyncio.timeout(WAIT_S):
        while not (found := await reasons()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert found == {"Telegram's flood limit": 1}
        await deliver.reach(2)
    assert await reasons() == {}
    assert await redis.exists(TASK_RECORD.format(Queue.DELIVERIES, f"{Task.DELIVER}:job")) == 0


async def test_no_reason_of_a_task_that_is_put_off_ends_the_worker(engine: Engine, redis: Redis) -> None:
    deliver = Runs(TryLater(0.1, "job 3f2a: Telegram:\n\x1b[31mtoo \ud83d fast"))
    await engine.add(Task.DELIVER, "job", "job")
    record = TASK_RECORD.format(Queue.DELIVERIES, f"{Task.DELIVER}:job")
    reasons = []

    async def look(argument: str) -> None:
        reasons.append(await redis.hget(record, "why"))  # type: ignore[misc]
        await deliver(argument)

    async with working(engine, {Task.DELIVER: look}):
        await deliver.reach(2)
    assert reasons == [None, "Telegram: [31mtoo fast"]


# Once per key


async def test_100_adds_of_one_key_run_once(engine: Engine) -> None:
    deliver = Runs()
    await asyncio.gather(*(engine.add(Task.DELIVER, "job", str(number)) for number in range(100)))
    await settled(engine, {Task.DELIVER: deliver})
    assert len(deliver.arguments) == 1


async def test_adds_from_many_processes_run_once(engine: Engine, redis_url: str) -> None:
    deliver = Runs()
    async with Engine(redis_url) as other:
        await asyncio.gather(*(adder.add(Task.DELIVER, "job", "x") for adder in [engine, other] * 20))
    await settled(engine, {Task.DELIVER: deliver})
    assert len(deliver.arguments) == 1


async def test_an_add_while_it_runs_changes_nothing(engine: Engine) -> None:
    deliver = Held()
    async with working(engine, {Task.DELIVER: deliver}):
        await engine.add(Task.DELIVER, "job", "first")
        await deliver.reach(1)
        await engine.add(Task.DELIVER, "job", "second")
        deliver.go.set()
    await settled(engine, {Task.DELIVER: deliver})
    assert deliver.arguments == ["first"]


async def test_an_add_after_it_ran_runs_again(engine: Engine) -> None:
    deliver = Runs()
    async with working(engine, {Task.DELIVER: deliver}):
        await engine.add(Task.DELIVER, "job", "first")
        await deliver.reach(1)
    async with working(engine, {Task.DELIVER: deliver}):
        await engine.add(Task.DELIVER, "job", "second")
        await deliver.reach(2)
    assert deliver.arguments == ["first", "second"]


async def test_tasks_of_other_keys_and_kinds_are_separate(engine: Engine) -> None:
    deliver, submit = Runs(), Runs()
    async with (
        working(engine, {Task.DELIVER: deliver}),
        working(engine, {Task.SUBMIT: submit}, queue=Queue.SUBMISSIONS),
    ):
        await asyncio.gather(
            *(engine.add(task, f"job-{n}", f"{n}") for n in range(20) for task in (Task.DELIVER, Task.SUBMIT))
        )
        await deliver.reach(20)
        await submit.reach(20)
    assert sorted(map(int, deliver.arguments)) == sorted(map(int, submit.arguments)) == list(range(20))


@pytest.mark.parametrize("argument", ["", "歌 🎵", '{"a": ["\\u0000"]}', "x" * 100_000])
async def test_an_argument_arrives_unchanged(engine: Engine, argument: str) -> None:
    deliver = Runs()
    async with working(engine, {Task.DELIVER: deliver}):
        await engine.add(Task.DELIVER, "job", argument)
        await deliver.reach(1)
    assert deliver.arguments == [argument]


async def test_a_worker_takes_only_tasks_of_its_queue(engine: Engine) -> None:
    update, deliver, submit = Runs(), Runs(), Runs()
    handlers = {Task.DELIVER: deliver, Task.UPDATE: update, Task.SUBMIT: submit}
    for task in handlers:
        await engine.add(task, "1", task.value)
    await settled(engine, handlers)
    assert (update.arguments, deliver.arguments, submit.arguments) == ([], ["deliver"], [])
    async with working(engine, handlers, queue=Queue.UPDATES):
        await update.reach(1)
    assert submit.arguments == []
    async with working(engine, handlers, queue=Queue.SUBMISSIONS):
        await submit.reach(1)
    assert (update.arguments, deliver.arguments, submit.arguments) == (["update"], ["deliver"], ["submit"])


async def test_a_backlog_of_deliveries_delays_no_submission(engine: Engine) -> None:
    deliver, submit = Held(), Runs()
    for number in range(10):
        await engine.add(Task.DELIVER, f"job-{number}", "")
    async with (
        working(engine, {Task.DELIVER: deliver}, concurrency=1),
        working(engine, {Task.SUBMIT: submit}, queue=Queue.SUBMISSIONS, concurrency=1),
    ):
        await deliver.reach(1)
        await engine.add(Task.SUBMIT, "next", "x")
        await submit.reach(1)
        assert deliver.finished == 0
        deliver.go.set()


async def test_packs_that_wait_for_limits_delay_no_delivery(engine: Engine) -> None:
    pack, deliver = Held(), Runs()
    for number in range(10):
        await engine.add(Task.PACK, f"job-{number}", "")
    async with (
        working(engine, {Task.PACK: pack}, queue=Queue.PACKS, concurrency=2),
        working(engine, {Task.DELIVER: deliver}, concurrency=1),
    ):
        await pack.reach(2)
        await engine.add(Task.DELIVER, "next", "x")
        await deliver.reach(1)
        assert pack.finished == 0
        pack.go.set()


async def test_an_idle_worker_seldom_asks_redis(engine: Engine, redis: Redis) -> None:
    """Beside the read that waits for a task: about one command a second, and a dozen at the start."""

    async def calls() -> Counter[str]:
        stats = await redis.info("commandstats")
        return Counter({name: it["calls"] for name, it in stats.items() if name != "cmdstat_info"})

    async with working(engine, {}), asyncio.timeout(WAIT_S):
        await redis.config_resetstat()
        while (asked := await calls())["cmdstat_xreadgroup"] < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    reads = asked["cmdstat_xreadgroup"]
    assert asked.total() - reads < 12 + 2 * reads, asked


async def test_no_more_tasks_run_at_once_than_allowed(engine: Engine) -> None:
    deliver = Held()
    for number in range(10):
        await engine.add(Task.DELIVER, f"job-{number}", "")
    async with working(engine, {Task.DELIVER: deliver}, concurrency=3):
        await deliver.reach(3)
        assert len(deliver.arguments) == 3
        deliver.go.set()
        await deliver.reach(10)


# Again


async def test_a_task_that_raises_try_later_runs_again(engine: Engine) -> None:
    deliver = Runs(TryLater(0.1, "not yet"), TryLater(0, "not yet"), TryLater(-5, "not yet"))
    async with working(engine, {Task.DELIVER: deliver}):
        await engine.add(Task.DELIVER, "job", "x")
        await deliver.reach(4)
    await settled(engine, {Task.DELIVER: deliver})
    assert deliver.arguments == ["x"] * 4


async def test_a_task_that_raises_any_exception_runs_again(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    deliver = Runs(LookupError("broken"))
    async with working(engine, {Task.DELIVER: deliver}):
        await engine.add(Task.DELIVER, "job", "x")
        await deliver.reach(2)
    assert "task deliver:job failed, again in 2 s: LookupError: broken" in caplog.text


async def test_planned_waits_do_not_lengthen_the_pause_after_a_failure(
    engine: Engine, redis: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docket_guards, "_LOOK_EVERY_S", 0.1)

    async def let_all_be_due() -> None:
        while True:
            await redis.zadd(TASKS_PUT_OFF.format(Queue.DELIVERIES), {f"{Task.DELIVER}:job": 0}, xx=True)
            await asyncio.sleep(0.01)

    not_yet, broken = TryLater(0, "not yet"), LookupError("broken")
    deliver = Runs(not_yet, not_yet, broken, broken, not_yet, broken)
    hurrying = asyncio.create_task(let_all_be_due())
    async with working(engine, {Task.DELIVER: deliver}):
        await engine.add(Task.DELIVER, "job", "x")
        await deliver.reach(7)
    hurrying.cancel()
    assert re.findall(r"failed, again in (\d+) s", caplog.text) == ["2", "4", "2"]


async def test_a_failing_task_delays_no_other(engine: Engine) -> None:
    bad, good = Runs(*[LookupError()] * 10), Runs()

    async def deliver(argument: str) -> None:
        await (bad if argument == "bad" else good)(argument)

    async with working(engine, {Task.DELIVER: deliver}, concurrency=1):
        await engine.add(Task.DELIVER, "bad", "bad")
        await bad.reach(1)
        await engine.add(Task.DELIVER, "good", "good")
        await good.reach(1)


async def test_an_add_while_it_waits_to_run_again_changes_nothing(engine: Engine) -> None:
    deliver = Runs(TryLater(1, "not yet"))
    async with working(engine, {Task.DELIVER: deliver}):
        await engine.add(Task.DELIVER, "job", "first")
        await deliver.reach(1)
        for _ in range(20):
            await engine.add(Task.DELIVER, "job", "second")
        await deliver.reach(2)
    await settled(engine, {Task.DELIVER: deliver})
    assert deliver.arguments == ["first", "first"]


# Stopping


async def test_stop_finishes_running_tasks_and_takes_no_new_ones(engine: Engine) -> None:
    deliver = Held()
    await engine.add(Task.DELIVER, "running", "running")
    async with working(engine, {Task.DELIVER: deliver}, concurrency=1) as stop:
        await deliver.reach(1)
        await engine.add(Task.DELIVER, "waiting", "waiting")
        stop.set()
        await asyncio.sleep(0)
        deliver.go.set()
    assert (deliver.arguments, deliver.finished) == (["running"], 1)
    async with working(engine, {Task.DELIVER: deliver}):
        await deliver.reach(2)
    assert deliver.arguments == ["running", "waiting"]


@pytest.mark.usefixtures("short_lease")
async def test_a_task_that_outlasts_the_grace_is_handed_back(engine: Engine) -> None:
    held, deliver = Held(), Runs()
    await engine.add(Task.DELIVER, "job", "x")
    async with working(engine, {Task.DELIVER: held}, grace_s=0.05):
        await held.reach(1)
    assert held.finished == 0
    async with working(engine, {Task.DELIVER: deliver}):
        await deliver.reach(1)


@pytest.mark.usefixtures("short_lease")
async def test_the_lease_of_a_long_task_is_renewed_until_it_ends(engine: Engine, redis: Redis) -> None:
    """While it works and while it drains, during which the library renews no lease."""
    held = Held()
    await engine.add(Task.DELIVER, "job", "x")
    async with working(engine, {Task.DELIVER: held}) as stop:
        await held.reach(1)
        await renewed(redis)
        stop.set()
        for _ in range(3):
            await renewed(redis)
        held.go.set()
    assert (held.arguments, held.finished) == (["x"], 1)


async def renewed(redis: Redis) -> None:
    """Wait until the lease of the only task that runs is renewed, and not by a takeover."""
    stream = f"{Queue.DELIVERIES}:stream"
    group = (await redis.xinfo_groups(stream))[0]["name"]
    before: tuple[int, int] | None = None
    is_renewed = False
    async with asyncio.timeout(WAIT_S):
        while not is_renewed:
            (held,) = await redis.xpending_range(stream, group, "-", "+", 1)
            now = int(held["time_since_delivered"]), int(held["times_delivered"])
            is_renewed = bool(before and now[0] < before[0] and now[1] == before[1])
            before = now
            await asyncio.sleep(0.02)


async def test_a_task_that_is_handed_back_has_ended(engine: Engine, redis_url: str) -> None:
    """Also when Redis is too slow for the worker to stop in order: otherwise two workers would run it."""
    held = Held()
    await engine.add(Task.DELIVER, "job", "x")
    async with Redis.from_url(redis_url) as redis:
        async with working(engine, {Task.DELIVER: held}, grace_s=0.1):
            await held.reach(1)
            await redis.client_pause(500)
        assert [task for task in asyncio.all_tasks() if "deliver:job" in task.get_name()] == []


async def test_a_worker_that_is_cancelled_twice_leaves_nothing_behind(
    engine: Engine, redis: Redis, redis_url: str
) -> None:
    """Neither tasks, which would go on, nor connections."""

    async def recovery() -> None:
        return

    await redis.ping()
    tasks, connections = asyncio.all_tasks(), len(await redis.client_list())
    for pause in range(10):
        async with Engine(redis_url) as other:
            held, every = Held(), {"sweep": Periodic(0.001, recovery)}
            await other.add(Task.DELIVER, "job", "x")
            stop = asyncio.Event()
            work = other.work(Queue.DELIVERIES, {Task.DELIVER: held}, stop, grace_s=0, periodic=every)
            worker = asyncio.create_task(work)
            await held.reach(1)
            for _ in range(2):
                worker.cancel()
                for _ in range(pause):
                    await asyncio.sleep(0)
            await asyncio.wait({worker})
            await redis.flushall()
        assert asyncio.all_tasks() == tasks
    async with asyncio.timeout(WAIT_S):
        while len(await redis.client_list()) > connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_task_of_an_unknown_kind_is_dropped(engine: Engine, redis: Redis) -> None:
    """Periodic work, as an earlier version did it."""
    fields = message("recovery", "recovery", "", 0)
    await redis.xadd(f"{Queue.DELIVERIES}:stream", dict(zip(fields[::2], fields[1::2], strict=True)))
    await settled(engine, {Task.DELIVER: Runs()})
    assert await redis.xlen(f"{Queue.DELIVERIES}:stream") == 0


async def died_of(engine: Engine, redis: "Redis[Any]", workers: int) -> None:
    """Add a task that so many workers took and died."""
    held = Held()
    await engine.add(Task.DELIVER, "poison", "x")
    async with working(engine, {Task.DELIVER: held}, grace_s=0.05):
        await held.reach(1)
    stream = f"{Queue.DELIVERIES}:stream"
    group = (await redis.xinfo_groups(stream))[0]["name"]
    message = (await redis.xpending_range(stream, group, "-", "+", 1))[0]["message_id"]
    # taking it over counts one more
    await redis.xclaim(stream, group, "dead", 0, [message], retrycount=workers)


async def given_up(engine: Engine, redis: "Redis[Any]", **options: Any) -> Runs:
    """Work until the task is gone and another has run; returns which of the two ran."""
    deliver, stream = Runs(), f"{Queue.DELIVERIES}:stream"
    group = (await redis.xinfo_groups(stream))[0]["name"]
    await engine.add(Task.DELIVER, "healthy", "y")
    async with working(engine, {Task.DELIVER: deliver}, concurrency=1, **options):
        async with asyncio.timeout(WAIT_S):
            while (await redis.xpending(stream, group))["pending"] or not deliver.arguments:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    return deliver


@pytest.mark.usefixtures("short_lease")
async def test_a_task_that_kills_its_workers_is_given_up_once(
    engine: Engine, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = Runs()
    async with Redis.from_url(redis_url) as redis:
        await died_of(engine, redis, MAX_TAKEOVERS + 1)
        deliver = await given_up(engine, redis, given_up={Task.DELIVER: told})
    assert deliver.arguments == ["y"]
    assert told.arguments == ["x"]
    assert "task deliver:poison given up" in caplog.text
    # added again, as the recovery does, it runs again
    await engine.add(Task.DELIVER, "poison", "x")
    async with working(engine, {Task.DELIVER: deliver}):
        await deliver.reach(2)
    assert deliver.arguments == ["y", "x"]


@pytest.mark.usefixtures("short_lease")
async def test_a_task_is_not_run_again_when_its_notification_fails(
    engine: Engine, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = Runs(LookupError("unreachable"))
    async with Redis.from_url(redis_url) as redis:
        await died_of(engine, redis, MAX_TAKEOVERS + 1)
        deliver = await given_up(engine, redis, given_up={Task.DELIVER: told})
    await settled(engine, {Task.DELIVER: deliver})
    assert (deliver.arguments, told.arguments) == (["y"], ["x"])
    assert (
        "task deliver:poison was given up; the steps after that failed: LookupError: unreachable"
        in caplog.text
    )


@pytest.mark.usefixtures("short_lease")
async def test_a_notification_that_kills_its_worker_is_not_repeated(engine: Engine, redis_url: str) -> None:
    told = Runs()
    async with Redis.from_url(redis_url) as redis:
        await died_of(engine, redis, MAX_TAKEOVERS + 2)
        deliver = await given_up(engine, redis, given_up={Task.DELIVER: told})
    assert (deliver.arguments, told.arguments) == (["y"], [])


VICTIM = """
import asyncio, sys
from stemdrop.cli import skip_unused_imports
skip_unused_imports()
from stemdrop.tasks.engine import Engine, Queue, Task

async def deliver(argument):
    print(argument, flush=True)
    await asyncio.sleep(3600)

async def main():
    async with Engine(sys.argv[1]) as engine:
        await engine.work(Queue.DELIVERIES, {Task.DELIVER: deliver}, asyncio.Event())

asyncio.run(main())
"""


async def test_a_killed_workers_tasks_are_taken_over_in_20_s(engine: Engine, redis_url: str) -> None:
    deliver = Runs()
    for number in range(3):
        await engine.add(Task.DELIVER, f"job-{number}", str(number))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, redis_url, stdout=subprocess.PIPE
    )
    assert process.stdout
    async with asyncio.timeout(WAIT_S):
        taken = {(await process.stdout.readline()).decode().strip() for _ in range(3)}
    assert taken == {"0", "1", "2"}
    async with working(engine, {Task.DELIVER: deliver}):
        process.send_signal(signal.SIGKILL)
        await process.wait()
        async with asyncio.timeout(120):
            await deliver.reach(3)
    assert sorted(deliver.arguments) == ["0", "1", "2"]


# Every so often


async def test_periodic_runs_once_over_all_workers(engine: Engine, redis_url: str) -> None:
    """Two engines take as long for a number of runs as one: each run belongs to one engine."""
    runs, loop = Runs(), asyncio.get_running_loop()

    async def recovery() -> None:
        await runs("")

    every = {"sweep": Periodic(0.4, recovery)}
    async with (
        Engine(redis_url) as other,
        working(engine, {}, periodic=every),
        working(other, {}, periodic=every),
    ):
        await runs.reach(1)
        started, before = loop.time(), len(runs.arguments)
        await runs.reach(before + 5)
        assert loop.time() - started > 5 * 0.4 * 0.75


async def test_periodic_work_longer_than_its_interval_runs_once_at_a_time(
    engine: Engine, redis_url: str
) -> None:
    """Neither concurrently nor again for a worker that starts meanwhile."""
    recovery, ticks = Held(), Runs()

    async def run_sweep() -> None:
        await recovery("")

    async def tick() -> None:
        await ticks("")

    every = {"sweep": Periodic(0.1, run_sweep), "tick": Periodic(0.1, tick)}
    async with Engine(redis_url) as second, working(engine, {}, periodic=every):
        await recovery.reach(1)
        async with working(second, {}, periodic=every):
            await ticks.reach(len(ticks.arguments) + 5)
            assert len(recovery.arguments) == 1
            recovery.go.set()
            await recovery.reach(3)


async def test_no_task_is_run_by_two_of_many_workers_at_once(engine: Engine, redis_url: str) -> None:
    """However often it is added meanwhile."""
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    runs = Runs()

    async def deliver(argument: str) -> None:
        running[argument] += 1
        most[argument] = max(most[argument], running[argument])
        await engine.add(Task.DELIVER, argument, argument)
        await asyncio.sleep(0)
        running[argument] -= 1
        await runs(argument)

    async with AsyncExitStack() as stack:
        engines = [engine, *[await stack.enter_async_context(Engine(redis_url)) for _ in range(2)]]
        for worker in engines:
            await stack.enter_async_context(working(worker, {Task.DELIVER: deliver}))
        jobs = [f"job-{number}" for number in range(20)]
        await asyncio.gather(*(adder.add(Task.DELIVER, job, job) for job in jobs for adder in engines))
        async with asyncio.timeout(WAIT_S):
            while set(runs.arguments) != set(jobs):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert set(most.values()) == {1}


async def test_a_periodic_task_goes_on_after_an_exception(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Runs(LookupError("broken"), TryLater(100, "not yet"))

    async def recovery() -> None:
        await runs("")

    async with working(engine, {}, periodic={"sweep": Periodic(0.1, recovery)}):
        await runs.reach(4)
    assert "sweep failed: LookupError: broken" in caplog.text


# Redis goes away


async def test_adding_without_redis_raises_store_unavailable(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        async with Engine(server.url) as engine:
            await engine.add(Task.DELIVER, "job", "x")
            server.kill()
            with pytest.raises(StoreUnavailable):
                await engine.add(Task.DELIVER, "job", "x")
            server.start()
            await engine.add(Task.DELIVER, "job", "x")
            deliver = Runs()
            await settled(engine, {Task.DELIVER: deliver})
            assert deliver.arguments == ["x"]


async def test_adding_to_a_frozen_redis_ends_within_seconds(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        async with connect(server.url) as redis, Engine(server.url) as engine:
            await engine.add(Task.DELIVER, "job", "x")
            pid = int((await redis.info("server"))["process_id"])
            os.kill(pid, signal.SIGSTOP)
            try:
                async with asyncio.timeout(ADD_TIMEOUT_S + 5):
                    with pytest.raises(StoreUnavailable):
                        await engine.add(Task.DELIVER, "other", "y")
            finally:
                os.kill(pid, signal.SIGCONT)
            # the task may have been added all the same; adding it again is safe
            await engine.add(Task.DELIVER, "other", "y")
            deliver = Runs()
            await settled(engine, {Task.DELIVER: deliver})
            assert sorted(deliver.arguments) == ["x", "y"]


async def test_a_worker_survives_an_outage_of_redis_during_a_long_task(tmp_path: Path) -> None:
    """It takes new tasks at once afterwards, not only when the long task has ended."""
    with RedisServer(tmp_path / "redis") as server:
        async with connect(server.url) as redis:
            await redis.config_set("appendfsync", "always")  # else a busy disk loses the last moment
        async with Engine(server.url) as engine, Engine(server.url) as adder:
            held = Held()
            async with working(engine, {Task.DELIVER: held}):
                await engine.add(Task.DELIVER, "job", "x")
                await held.reach(1)
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(3)
                await asyncio.to_thread(server.start)
                await adder.add(Task.DELIVER, "next", "y")
                try:
                    await held.reach(2)
                    assert (held.arguments, held.finished) == (["x", "y"], 0)
                finally:
                    held.go.set()
            assert (held.arguments, held.finished) == (["x", "y"], 2)


@pytest.mark.parametrize(
    ("refuse", "refusal", "allow"),
    [
        ("CONFIG SET maxmemory 1", "OOM", "CONFIG SET maxmemory 0"),
        ("REPLICAOF 127.0.0.1 1", "READONLY", "REPLICAOF NO ONE"),
    ],
    ids=["full", "replica"],
)
@pytest.mark.usefixtures("short_lease")
async def test_a_worker_survives_refusals_of_redis_during_a_long_task(
    tmp_path: Path, refuse: str, refusal: str, allow: str
) -> None:
    """It takes new tasks at once afterwards, as after an outage."""
    with RedisServer(tmp_path / "redis") as server:
        async with Engine(server.url) as engine, Redis.from_url(server.url) as redis:
            held = Held()
            async with working(engine, {Task.DELIVER: held}):
                await engine.add(Task.DELIVER, "job", "x")
                await held.reach(1)
                await redis.execute_command(refuse)
                async with asyncio.timeout(WAIT_S):
                    while f"errorstat_{refusal}" not in await redis.info("errorstats"):  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                await redis.execute_command(allow)
                await engine.add(Task.DELIVER, "next", "y")
                try:
                    await held.reach(2)
                    assert (held.arguments, held.finished) == (["x", "y"], 0)
                finally:
                    held.go.set()
            assert (held.arguments, held.finished) == (["x", "y"], 2)


async def test_tasks_scheduled_by_a_clock_that_was_set_back_run(
    engine: Engine, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docket_guards, "_LOOK_EVERY_S", 0.1)
    waiting, soon = Runs(TryLater(250, "as ordered")), f"{Queue.DELIVERIES}:queue"
    async with Redis.from_url(redis_url) as redis, working(engine, {Task.DELIVER: waiting}):
        await engine.add(Task.DELIVER, "job", "x")
        await waiting.reach(1)
        async with asyncio.timeout(WAIT_S):
            while not await redis.zcard(soon):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert len(waiting.arguments) == 1  # what is put off for as long as may be is left alone
        await redis.zincrby(soon, 3600, "deliver:job")
        await waiting.reach(2)


async def test_log_lines_of_a_task_name_its_job(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    runs = Runs(TryLater(0.1, "not now"))

    async def run(argument: str) -> None:
        logging.getLogger("some.library").warning("deep within")
        await runs(argument)

    caplog.handler.addFilter(add_job_fields)
    try:
        with caplog.at_level(logging.INFO):
            await engine.add(Task.PACK, "abc:z", "abc:z")
            await engine.add(Task.UPDATE, "1", '{"update_id": 1}')
            async with working(engine, {Task.PACK: run}, queue=Queue.PACKS):
                await runs.reach(2)
            async with working(engine, {Task.UPDATE: run}, queue=Queue.UPDATES):
                await runs.reach(3)
    finally:
        caplog.handler.removeFilter(add_job_fields)
    seen = [(record.getMessage(), getattr(record, "job", "")) for record in caplog.records]
    ours = [(line, job) for line, job in seen if line.startswith(("task", "deep"))]
    assert ours == [
        ("deep within", "abc"),
        ("task pack:abc:z waits 0 s: not now", "abc"),
        ("deep within", "abc"),
        ("deep within", ""),
    ]

"""The walks through every state of one job and of two; `test_job_walk.py` is their short form."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from job_walk.invariants import OneJob
from job_walk.model import Bounds
from job_walk.planted_faults import FAULTS, TWO_JOBS_FAULTS, PlantedFault
from job_walk.several_jobs import play
from job_walk.stored import Steps
from job_walk.two_jobs import PAIRS, TwoJobs, one_at_a_time
from job_walk.walk import Violated, Walkable, explore

from stemdrop.storage.connection import connect

Record = Callable[[str, object], None]
ONE_CALL = Bounds(calls=1)
# What else can happen to a job is the same with one call.
TWO_CALLS = Bounds(calls=2, results=("stems", "failed", "refunded"), corrections=False, asides=False)
# The second call is of another, cheaper provider.
TWO_PROVIDERS = replace(TWO_CALLS, results=("stems", "refunded"), prices=(10, 6))
WALKS = {"one call": ONE_CALL, "two calls": TWO_CALLS, "two providers": TWO_PROVIDERS}

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]


@pytest.fixture
async def steps(redis_url: str) -> AsyncIterator[Steps]:
    async with connect(redis_url) as redis:
        steps = Steps(redis)
        with steps.named_tokens():
            yield steps


async def walk_through(model: Walkable, name: str, record: Record) -> None:
    walk = await explore(model)
    record("walk", f"{name}: {walk.states} states, {walk.transitions} transitions, complete")
    assert walk.is_complete
    assert walk.dead_ends() == []


@pytest.mark.parametrize("name", WALKS)
async def test_every_state_of_a_job(steps: Steps, record_property: Record, name: str) -> None:
    await walk_through(OneJob(steps, WALKS[name]), name, record_property)


@pytest.mark.parametrize("name", PAIRS)
async def test_every_state_of_two_jobs(steps: Steps, record_property: Record, name: str) -> None:
    with one_at_a_time():
        await walk_through(TwoJobs(steps, PAIRS[name]), name, record_property)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_the_walk_finds_a_planted_fault(steps: Steps, fault: PlantedFault) -> None:
    needs_two = any("call 2" in step for step in fault.witness)
    with fault.planted(), pytest.raises(Violated):
        await explore(OneJob(steps, TWO_CALLS if needs_two else ONE_CALL))


@pytest.mark.parametrize("fault", TWO_JOBS_FAULTS, ids=str)
async def test_the_walk_through_two_jobs_finds_a_planted_fault(steps: Steps, fault: PlantedFault) -> None:
    with fault.planted(), one_at_a_time(), pytest.raises(Violated) as found:
        await explore(TwoJobs(steps, PAIRS["two users and one song"]))
    assert fault.invariant in found.value.invariants


def test_several_jobs_share_what_was_paid_for(redis_url: str) -> None:
    play(redis_url, 500)


def test_a_planted_fault_is_found_among_several_jobs(redis_url: str) -> None:
    with TWO_JOBS_FAULTS[0].planted(), pytest.raises(AssertionError, match="pays for what"):
        play(redis_url, 500, is_shrunk=False)

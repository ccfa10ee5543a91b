"""The walk through every state of one job; `tests/stemdrop/storage/test_job_walk.py` is its short form."""

from collections.abc import AsyncIterator, Callable

import pytest
from job_walk.model import Bounds, Model
from job_walk.planted_faults import FAULTS, SHARING_FAULTS, PlantedFault
from job_walk.several_jobs import play
from job_walk.stored import Steps
from job_walk.walk import Violated, explore

from stemdrop.storage.connection import connect

ONE_CALL = Bounds(calls=1)
# What a second call may bring beside the first; corrections of one call are in the world above.
TWO_CALLS = Bounds(calls=2, results=("stems", "failed", "refunded"), corrections=False)

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]


@pytest.fixture
async def steps(redis_url: str) -> AsyncIterator[Steps]:
    async with connect(redis_url) as redis:
        steps = Steps(redis)
        with steps.named_tokens():
            yield steps


@pytest.mark.parametrize("bounds", [ONE_CALL, TWO_CALLS], ids=["one call", "two calls"])
async def test_every_state_of_a_job(
    steps: Steps, bounds: Bounds, record_property: Callable[[str, object], None]
) -> None:
    walk = await explore(Model(steps, bounds))
    line = f"{bounds}: {walk.states} states, {walk.transitions} transitions, complete: {walk.is_complete}"
    print(line)  # noqa: T201
    record_property("walk", line)
    assert walk.is_complete
    assert walk.dead_ends() == []


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_the_walk_finds_a_planted_fault(steps: Steps, fault: PlantedFault) -> None:
    bounds = TWO_CALLS if any("call 2" in step for step in fault.witness) else ONE_CALL
    with fault.planted(), pytest.raises(Violated) as violated:
        await explore(Model(steps, bounds))
    print(violated.value)  # noqa: T201


def test_several_jobs_share_what_was_paid_for(redis_url: str) -> None:
    play(redis_url, 500)


@pytest.mark.parametrize("fault", SHARING_FAULTS, ids=str)
def test_a_planted_fault_of_sharing_is_found(redis_url: str, fault: PlantedFault) -> None:
    with fault.planted(), pytest.raises(AssertionError) as found:
        play(redis_url, 500)
    assert fault.invariant in [entry.name for entry in found.traceback]

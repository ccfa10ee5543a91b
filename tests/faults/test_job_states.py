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
# Its first states only: the whole takes hours.
TWO_CALLS = Bounds(calls=2, results=("stems", "failed", "refunded"), corrections=False)
STATES_OF_TWO_CALLS = 3_000

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]


@pytest.fixture
async def steps(redis_url: str) -> AsyncIterator[Steps]:
    async with connect(redis_url) as redis:
        steps = Steps(redis)
        with steps.named_tokens():
            yield steps


async def test_every_state_of_a_job_with_one_call(
    steps: Steps, record_property: Callable[[str, object], None]
) -> None:
    walk = await explore(Model(steps, ONE_CALL))
    record_property("walk", f"one call: {walk.states} states, {walk.transitions} transitions, complete")
    assert walk.is_complete
    assert walk.dead_ends() == []


async def test_the_first_states_of_a_job_with_two_calls(
    steps: Steps, record_property: Callable[[str, object], None]
) -> None:
    walk = await explore(Model(steps, TWO_CALLS), most_states=STATES_OF_TWO_CALLS)
    counted = f"{walk.states} states, {walk.transitions} transitions"
    record_property("walk", f"two calls: {counted}, complete: {walk.is_complete}")


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if not any("call 2" in step for step in fault.witness)], ids=str
)
async def test_the_walk_finds_a_planted_fault(steps: Steps, fault: PlantedFault) -> None:
    with fault.planted(), pytest.raises(Violated):
        await explore(Model(steps, ONE_CALL))


def test_several_jobs_share_what_was_paid_for(redis_url: str) -> None:
    play(redis_url, 500)


@pytest.mark.parametrize("fault", SHARING_FAULTS, ids=str)
def test_a_planted_fault_of_sharing_is_found(redis_url: str, fault: PlantedFault) -> None:
    with fault.planted(), pytest.raises(AssertionError) as found:
        play(redis_url, 500, is_shrunk=False)
    assert fault.invariant in [entry.name for entry in found.traceback]

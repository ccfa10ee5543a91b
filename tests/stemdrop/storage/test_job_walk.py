"""A walk through the states of one job, of a small model; `tests/faults/test_job_states.py` walks the whole.

The model, its invariants and the faults that they must find are in `tests/support/job_walk`.
"""

from collections.abc import AsyncIterator, Sequence

import pytest
from job_walk import invariants
from job_walk.invariants import OneJob
from job_walk.model import Bounds
from job_walk.planted_faults import FAULTS, PROVIDER_FAULTS, PlantedFault
from job_walk.several_jobs import play
from job_walk.stored import Steps
from job_walk.walk import Violated, explore, follow

from stemdrop.storage.connection import connect

# Enough to end a job in every way; corrections and further calls are for the whole walk.
SMALL = Bounds(calls=1, results=("stems", "refunded"), corrections=False)
# One provider takes over from another, at another price.
TWO_PROVIDERS = Bounds(
    calls=2, prices=(10, 6), results=("stems", "refunded"), corrections=False, asides=False
)
STATES = 250


@pytest.fixture
async def steps(redis_url: str) -> AsyncIterator[Steps]:
    async with connect(redis_url) as redis:
        steps = Steps(redis)
        with steps.named_tokens():
            yield steps


@pytest.mark.parametrize("bounds", [SMALL, TWO_PROVIDERS], ids=["one provider", "two"])
async def test_every_invariant_holds_in_the_first_states(steps: Steps, bounds: Bounds) -> None:
    walk = await explore(OneJob(steps, bounds), most_states=STATES)
    assert walk.states >= STATES


async def violated_by(model: OneJob, fault: PlantedFault) -> Sequence[str]:
    try:
        await follow(model, fault.witness)
    except Violated as violated:
        return violated.invariants
    return []


async def test_a_planted_fault_violates_its_invariant_and_the_product_does_not(steps: Steps) -> None:
    one, two = OneJob(steps, Bounds()), OneJob(steps, Bounds(prices=(6, 10)))
    for faults, model in ((FAULTS, one), (PROVIDER_FAULTS, two)):
        steps.forget()
        for fault in faults:
            await follow(model, fault.witness)
        for fault in faults:
            steps.forget()
            with fault.planted():
                assert fault.invariant in await violated_by(model, fault), fault


def test_several_jobs_share_what_was_paid_for(redis_url: str) -> None:
    play(redis_url, 10)


def test_every_invariant_finds_a_planted_fault() -> None:
    found = {fault.invariant for fault in (*FAULTS, *PROVIDER_FAULTS)}
    assert found == set(invariants.STATES) | set(invariants.STEPS)


def test_a_planted_fault_that_no_longer_fits_says_so() -> None:
    fault = PlantedFault("a fault", "CLOSE", "no such text", "", "", ())
    with pytest.raises(AssertionError, match="a fault: CLOSE holds 0 times: no such text"), fault.planted():
        pass


def test_a_violation_lists_the_steps_and_says_what_should_hold() -> None:
    text = str(Violated(["an_end_stays"], ["the user picks", "the user cancels"]))
    assert "A job that has ended moves on only" in text
    assert text.endswith("  1. the user picks\n  2. the user cancels")

"""The model of two jobs with one create call each: of two users who share a split, or of one user.

The states and invariants of each job alone are in `model.py`; this model is about what the jobs owe each
other. One user's jobs may be in progress one at a time, so that the second waits in the account's queue.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
from builders import CHAT, make_job

from job_walk.invariants import OF_TWO
from job_walk.model import ACCOUNT_DAY, BEGAN, MODE, PRICE, RESULTS, Action, Call, Moved, Named, State
from job_walk.stored import Step, Steps, Stored, Trial
from stemdrop.domain.failures import failure_of
from stemdrop.domain.jobs import FINAL, Failure, Job, JobState, is_overtaken
from stemdrop.domain.outcomes import Credits
from stemdrop.storage import job_store, keys
from stemdrop.storage.job_store import JobStore

BOB = CHAT + 1
IN_CALL = (JobState.SUBMITTING, JobState.SEPARATING)
_NAMES = ("j1", "j2")
_TURNS = [(f"user {number} picks", f"the queue of job {number} moves on") for number in (0, 1)]
_KINDS = ("stems", "failed", "empty")


def _jobs(accounts: tuple[int, int], songs: tuple[str, str]) -> tuple[Job, Job]:
    made = []
    for name, account, song in zip(_NAMES, accounts, songs, strict=True):
        job = make_job(id=name, chat_id=account, user_id=account, account=account, mode=None)
        made.append(replace(job, source=replace(job.source, file_unique_id=song)))
    return made[0], made[1]


PAIRS = {
    "two users and one song": _jobs((CHAT, BOB), ("song", "song")),
    "one user and one song": _jobs((CHAT, CHAT), ("song", "song")),
    "one user and two songs": _jobs((CHAT, CHAT), ("song", "other")),
}


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let an account's second job wait for its first, as the fourth does for three others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_store, "MAX_IN_FLIGHT", 1)
        yield


@dataclass
class TwoJobs:
    """Lists the actions of a state in which call n belongs to job n, and says what must hold."""

    steps: Steps
    jobs: tuple[Job, Job]
    ours: tuple[str, ...] = ("a worker ", "the queue ", "job ", "the answer ", "the task ", "the refusal ")
    is_shared: bool = field(init=False)

    def __post_init__(self) -> None:
        """Find out whether the jobs split the same song."""
        self.is_shared = self.jobs[0].source == self.jobs[1].source

    async def first(self) -> State:
        await self.steps.redis.flushdb()
        for job in self.jobs:
            await JobStore(self.steps.redis, lambda: BEGAN).add(job, job.id)
        return State(await self.steps.take(), (Call("none"), Call("none")))

    def actions(self, state: State) -> dict[str, Action]:
        return {name: action for number in (0, 1) for name, action in self._of_job(state, number)}

    def _step(self, state: State, name: str, step: Step, changed: State | None = None) -> Action:
        return Action(state, changed or state, Trial(state.stored, name, BEGAN, step))

    def _of_job(self, state: State, number: int) -> Named:
        yield from self._user(state, number)
        yield from self._call(state, number)
        yield from self._provider(state, number)
        yield from self._product(state, number)

    def _user(self, state: State, number: int) -> Named:
        job, seen = self.jobs[number], state.stored.job(_NAMES[number])
        if seen is None:
            return
        if seen.state is JobState.CHOOSING:
            yield (
                f"user {number} picks",
                self._step(state, f"pick {number}", lambda s: s.pick(job, MODE, "", 0)),
            )
        if seen.state is JobState.CANCELLED:
            yield f"user {number} resumes", self._step(state, f"resume {number}", lambda s: s.resume(job.id))
        if seen.state in (JobState.QUEUED, *IN_CALL):
            yield f"user {number} cancels", self._step(state, f"cancel {number}", lambda s: s.cancel(job.id))
        if seen.state is not JobState.CHOOSING:
            yield f"user {number} deletes", self._step(state, f"forget {number}", lambda s: s.forget(job.id))

    def _call(self, state: State, number: int) -> Named:
        job, call, name = self.jobs[number], state.calls[number], f"call {number}"
        token = f"begin_create {number}"
        if call.worker == "none":
            begun = state.with_call(number, worker="waiting", provider="asked")
            yield f"a worker begins {name}", self._step(state, token, lambda s: s.begin_create(job.id), begun)
        if call.worker != "waiting":
            return
        gone, told = (
            state.with_call(number, worker="gone", known=known) for known in (call.known, call.provider)
        )
        if call.provider == "asked":
            for answer in ("accepted", "refused"):
                answered = state.with_call(number, provider=answer)
                yield f"the provider: {name} {answer}", Action(state, answered)
        if call.provider == "accepted":
            accept = self._step(gone, f"accept {number}", lambda s: s.accept(job.id, f"task{number}"), told)
            yield f"the task of {name} is stored", accept
        if call.provider == "refused":
            seen = replace(job, account_day=ACCOUNT_DAY)
            refuse = self._step(gone, f"refuse {number}", lambda s: s.not_accepted(seen, token), told)
            yield f"the refusal of {name} is stored", refuse
        lose = self._step(gone, f"lose {number}", lambda s: s.lose_answer(job.id, token))
        yield f"the answer to {name} is lost", lose

    def _provider(self, state: State, number: int) -> Named:
        """Yield callbacks by the link of the call's job, and polls by the job that has its task now."""
        call, task = state.calls[number], f"task{number}"
        if call.provider != "accepted":
            return
        askers = {number} | {n for n in (0, 1) if (it := state.stored.job(_NAMES[n])) and it.task_id == task}
        for kind in _KINDS:
            # the URLs of a success may come after it
            if call.said - {kind, "empty"} or (call.said and kind == "failed" and kind not in call.said):
                continue
            said = state.with_call(number, known="accepted", said=call.said | {kind})
            for asker in sorted(askers):
                step = _receiving(self.jobs[asker], task, kind)
                name = f"call {number} brings {kind} to job {asker}"
                yield name, self._step(state, f"receive {task} {kind} {asker}", step, said)

    def _product(self, state: State, number: int) -> Named:
        job = state.stored.job(_NAMES[number])
        if job is None:
            return
        name = f"job {number}"
        if job.state is JobState.QUEUED and not job.waits_for:
            account = job.account
            yield (
                f"the queue of {name} moves on",
                self._step(state, f"promote {account}", lambda s: s.promote(account)),
            )
        if is_overtaken(job):
            yield (
                f"{name} prefers its stems",
                self._step(state, f"again {number}", lambda s: s.deliver_again(job.id, Credits.SETTLE)),
            )
        if job.state is JobState.SEPARATING:
            yield f"{name} runs out of time", self._fail(state, job, Failure("timeout", not job.paid_by))
        if job.state is JobState.SUBMITTING and job.create_started_at:
            yield f"{name} is given up", self._fail(state, job, Failure("lost", None))
        if job.state is JobState.SUBMITTING and not job.create_started_at:
            yield f"{name} cannot call", self._fail(state, job, Failure("unreachable", charged=False))
        if job.state is JobState.DELIVERING and job.result:
            yield f"{name} is delivered or explained", self._deliver(state, job)
        if job.waits_for:
            payer = state.stored.job(job.waits_for)
            if payer is None or payer.state not in (*IN_CALL, JobState.DELIVERING):
                yield f"{name} waits no longer", self._step(state, f"leave {number}", lambda s: s.leave(job))

    def _fail(self, state: State, job: Job, failure: Failure, credits: Credits | None = None) -> Action:
        step = f"fail {job.id} {job.state} {failure} {credits}"
        return self._step(state, step, lambda s: s.fail(job.id, [job.state], failure, credits))

    def _deliver(self, state: State, job: Job) -> Action:
        assert job.result
        if failure := failure_of(job.result):
            charged = failure.charged and not job.paid_by
            return self._fail(state, job, replace(failure, charged=charged))
        ended = [JobState.DELIVERING], JobState.DELIVERED
        return self._step(state, f"delivered {job.id}", lambda s: s.move(job.id, *ended, missing=()))

    def has_ended(self, state: State) -> bool:
        jobs = [state.stored.job(name) for name in _NAMES]
        return all(
            job is None or job.state is JobState.CHOOSING or (job.state in FINAL and not is_overtaken(job))
            for job in jobs
        )

    def violated(self, before: State, name: str, moved: Moved, *, is_known: bool) -> list[str]:
        """Return the names of the invariants that do not hold."""
        if is_known and moved.tried is None:
            return []
        return [it for it, holds in OF_TWO.items() if not holds(self, before, name, moved)]


def of_two(invariant: Callable[..., bool]) -> Callable[..., bool]:
    """Register an invariant of a step of two jobs and of the state after it."""
    OF_TWO[invariant.__name__] = invariant
    return invariant


def _receiving(job: Job, task: str, kind: str) -> Step:
    return lambda store: store.receive(job.id, job.chat_id, task, RESULTS[kind])


def _spent(stored: Stored, account: int) -> int:
    return sum(map(int, stored.mapping(keys.SPENT.format(account, ACCOUNT_DAY)).values()))


def _existing(state: State) -> Iterator[tuple[int, Job]]:
    for number, name in enumerate(_NAMES):
        if job := state.stored.job(name):
            yield number, job


@of_two
def paid_calls_are_awaited(model: TwoJobs, before: State, action: str, moved: Moved) -> bool:
    """No job begins to pay for a split while another one's call for it is on its way.

    That of a job that is picked anew after its own call was refused may be known to no other job.
    """
    for number in (0, 1):
        other, call = before.stored.job(_NAMES[1 - number]), before.calls[1 - number]
        is_on_its_way = other and other.state in IN_CALL and call.worker != "none" and not call.said
        is_new = before.calls[number].worker == "none"
        if is_new and model.is_shared and is_on_its_way and call.may_be_kept and action in _TURNS[number]:
            job = moved.state.stored.job(_NAMES[number])
            return job is None or job.state is not JobState.SUBMITTING
    return True


@of_two
def all_pay_for_what_may_be_charged(model: TwoJobs, before: State, action: str, moved: Moved) -> bool:
    """The accounts together pay at most for the calls that may be charged and those that are to be made."""
    jobs = dict(_existing(moved.state))
    kept = to_be_made = 0
    for number, call in enumerate(moved.state.calls):
        # a deleted job no longer knows what was given back
        kept += call.worker != "none" and call.known != "refused"
        job = jobs.get(number)
        is_awaiting = job and job.state in (JobState.QUEUED, JobState.SUBMITTING)
        to_be_made += bool(job and is_awaiting and not job.create_started_at)
    spent = sum(_spent(moved.state.stored, account) for account in {job.account for job in model.jobs})
    return spent <= PRICE * (kept + to_be_made)


@of_two
def each_pays_for_the_own_call(model: TwoJobs, before: State, action: str, moved: Moved) -> bool:
    """A call that is known as charged is paid for by the account of its job."""
    for account in {job.account for job in model.jobs}:
        known = [
            call
            for job, call in zip(model.jobs, moved.state.calls, strict=True)
            if job.account == account and call.known == "accepted"
        ]
        if _spent(moved.state.stored, account) < PRICE * len(known):
            return False
    return True


@of_two
def what_a_shared_result_costs_is_nothing(model: TwoJobs, before: State, action: str, moved: Moved) -> bool:
    """A job that was given another one's result or task has no call of its own to pay for."""
    for number, job in _existing(moved.state):
        is_own = moved.state.calls[number].worker != "none"
        if (
            job.paid_by
            and not is_own
            and job.id in moved.state.stored.mapping(keys.SPENT.format(job.account, ACCOUNT_DAY))
        ):
            return False
    return True


@of_two
def stems_of_both_are_deliverable(model: TwoJobs, before: State, action: str, moved: Moved) -> bool:
    """Stems that came for a job are delivered, or can still be delivered."""
    states = (JobState.DELIVERING, JobState.DELIVERED, JobState.CANCELLED)
    for number, job in _existing(moved.state):
        if "stems" not in moved.state.calls[number].said or job.state is JobState.CHOOSING:
            continue
        has_stems = bool(job.result and job.result.stems)
        if not has_stems or not (job.state in states or job.is_undelivered or is_overtaken(job)):
            return False
    return True


@of_two
def those_who_move_are_looked_after(model: TwoJobs, before: State, action: str, moved: Moved) -> bool:
    """Recovery finds each job that has not ended, and a job that waits is known to the one it waits for."""
    due = moved.state.stored.members(keys.RECOVERY_DUE)
    for _, job in _existing(moved.state):
        if job.state not in (JobState.CHOOSING, *FINAL) and job.id not in due:
            return False
        if job.waits_for:
            waiting = moved.state.stored.members(keys.WAITING.format(job.waits_for))
            if job.state is not JobState.QUEUED or job.id not in waiting:
                return False
    return True

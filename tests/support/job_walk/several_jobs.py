"""Several jobs of two accounts at once, as a Hypothesis state machine that checks what they owe each other.

Three jobs split the same song, so that they share one paid call; the fourth splits another one.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from builders import CHAT, Clock, make_job
from fuzzing import fuzzed
from hypothesis import Phase, settings, stateful
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from redis.asyncio import Redis

from job_walk.model import ACCOUNT_DAY, BEGAN, MODE, PRICE, RESULTS, Call
from job_walk.stored import Steps, Stored
from stemdrop.domain.failures import failure_of
from stemdrop.domain.jobs import Failure, Job, JobState, is_overtaken
from stemdrop.domain.outcomes import Credits, Picked, Receipt
from stemdrop.storage import keys
from stemdrop.storage.connection import connect
from stemdrop.storage.job_store import JobStore

T = TypeVar("T")
BOB = CHAT + 1
# id → account and song
JOBS = {"a1": (CHAT, "song"), "a2": (CHAT, "song"), "a3": (CHAT, "other"), "b1": (BOB, "song")}
NUMBERS = st.integers(0, 3)
IDS = st.sampled_from(sorted(JOBS))
IN_CALL = (JobState.SUBMITTING, JobState.SEPARATING)


@dataclass(slots=True)
class Made:
    """A create call that a job has begun, with the name under which the store knows it."""

    job_id: str
    name: str
    call: Call

    @property
    def task(self) -> str:
        return f"task-{self.name}"


class SeveralJobs(RuleBasedStateMachine):
    """Each rule is a step of the product's store, or an answer of the provider."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        self.redis_url = redis_url
        self.runner = asyncio.Runner()
        self.clock = Clock(BEGAN)
        self.stored: Stored | None = None  # what Redis holds, since the last step
        self.made: list[Made] = []
        self.asked = 0

    def teardown(self) -> None:
        if hasattr(self, "connection"):
            self.run(self.connection.__aexit__(None, None, None))
        self.runner.close()

    def run(self, step: Awaitable[T]) -> T:
        async def stepped() -> T:
            return await step

        self.stored = None
        return self.runner.run(stepped())

    def look(self) -> Stored:
        if self.stored is None:
            self.stored = self.run(self.steps.take())
        return self.stored

    @initialize()
    def songs_arrive(self) -> None:
        self.connection = connect(self.redis_url)
        self.redis: Redis = self.run(self.connection.__aenter__())
        self.steps = Steps(self.redis)
        self.run(self.redis.flushdb())
        self.store = JobStore(self.redis, self.clock)
        for job_id, (account, song) in JOBS.items():
            self.run(self.store.add(self.new(job_id, account, song), f"message:{job_id}"))

    def new(self, job_id: str, account: int, song: str) -> Job:
        job = make_job(id=job_id, chat_id=account, user_id=account, account=account, mode=None)
        return replace(job, source=replace(job.source, file_unique_id=song))

    def job(self, job_id: str) -> Job | None:
        return self.look().job(job_id)

    def one_of(self, number: int, *states: JobState) -> Job | None:
        """Choose a job in one of these states, so that most steps change something; None if there is none."""
        jobs = [job for job in filter(None, map(self.job, JOBS)) if job.state in states]
        return jobs[number % len(jobs)] if jobs else None

    def calls(self, job_id: str, *, worker: str = "", provider: str = "") -> list[Made]:
        """Return the job's calls whose worker and provider are in these states ('': in any)."""
        return [
            made
            for made in self.made
            if made.job_id == job_id
            and worker in ("", made.call.worker)
            and provider in ("", made.call.provider)
        ]

    # The users

    @rule(number=NUMBERS)
    def pick(self, number: int) -> None:
        if job := self.one_of(number, JobState.CHOOSING):
            picked, _ = self.run(self.store.pick(job, MODE, "", 0))
            assert picked is not Picked.OVER

    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        if job := self.one_of(number, JobState.QUEUED, *IN_CALL):
            self.run(self.store.cancel(job.id))

    @rule(number=NUMBERS)
    def take_up_again(self, number: int) -> None:
        if job := self.one_of(number, JobState.CANCELLED):
            self.run(self.store.resume(job.id))

    @rule(job_id=IDS, rare=st.integers(0, 3))
    def delete(self, job_id: str, rare: int) -> None:
        if rare == 2:
            self.run(self.store.forget(job_id))

    @rule(job_id=IDS)
    def ask_again(self, job_id: str) -> None:
        job = self.job(job_id)
        if job and job.answer_lost_at and self.run(self.store.ask_again(job, f"tap{len(self.made)}")):
            self.asked += 1

    # The workers

    @rule(account=st.sampled_from([CHAT, BOB]))
    def promote(self, account: int) -> None:
        self.run(self.store.promote(account))

    @rule(number=NUMBERS)
    def begin(self, number: int) -> None:
        chosen = self.one_of(number, JobState.SUBMITTING)
        if not chosen:
            return
        job_id = chosen.id
        self.clock.advance(1000)
        name = self.run(self.store.begin_create(job_id))
        if not name:
            return
        job = self.job(job_id)
        assert job
        paying = [made for made in self.made if made.call.may_be_kept and not made.call.said]
        others = {it.job_id for it in paying if JOBS[it.job_id][1] == JOBS[job_id][1]} - {job_id}
        shared = [other for other in others if (paid := self.job(other)) and paid.state in IN_CALL]
        assert not shared, f"{job_id} pays for what {shared} has paid for"
        self.made.append(Made(job_id, name, Call("waiting", "asked")))

    @rule(is_accepted=st.integers(0, 3))
    def answer(self, is_accepted: int) -> None:
        """The provider decides; its answer is on its way."""
        for made in [made for made in self.made if made.call.provider == "asked"][-1:]:
            made.call = replace(made.call, provider="accepted" if is_accepted else "refused")

    @rule(job_id=IDS)
    def store_answer(self, job_id: str) -> None:
        for made in self.calls(job_id, worker="waiting"):
            account, song = JOBS[job_id]
            if made.call.provider == "accepted":
                receipt = self.run(self.store.accept(job_id, made.task))
                known = "" if receipt is Receipt.UNKNOWN else "accepted"
                made.call = replace(made.call, worker="gone", known=known)
            elif made.call.provider == "refused":
                seen = replace(self.new(job_id, account, song), account_day=ACCOUNT_DAY)
                self.run(self.store.not_accepted(seen, made.name))
                made.call = replace(made.call, worker="gone", known="refused")

    @rule(job_id=IDS)
    def lose_answer(self, job_id: str) -> None:
        for made in self.calls(job_id, worker="waiting"):
            self.run(self.store.lose_answer(job_id, made.name))
            made.call = replace(made.call, worker="gone")

    @rule(number=NUMBERS, kind=st.sampled_from(["stems", "stems", "failed", "refunded", "empty"]))
    def call_back(self, number: int, kind: str) -> None:
        accepted = [made for made in self.made if made.call.provider == "accepted"]
        for made in accepted[-1 - number : len(accepted) - number]:
            if made.call.said - {kind}:
                continue
            chat = JOBS[made.job_id][0]
            receipt = self.run(self.store.receive(made.job_id, chat, made.task, RESULTS[kind]))
            assert receipt is not Receipt.FOREIGN
            if receipt is not Receipt.UNKNOWN:
                made.call = replace(made.call, known="accepted", said=frozenset({kind}))

    @rule(job_id=IDS, is_sent=st.integers(0, 3))
    def deliver(self, job_id: str, is_sent: int) -> None:
        job = self.job(job_id)
        if job and is_overtaken(job):
            self.run(self.store.deliver_again(job_id, Credits.SETTLE))
        if not job or job.state is not JobState.DELIVERING or not job.result:
            return
        if failure := failure_of(job.result):
            credits = Credits.RETURN if failure.charged is False else Credits.SETTLE
            if job.is_other_charged:
                failure = replace(failure, charged=True)
            self.run(self.store.fail(job_id, [JobState.DELIVERING], failure, credits))
        elif is_sent:
            self.run(self.store.move(job_id, [JobState.DELIVERING], JobState.DELIVERED))
        else:
            undeliverable = Failure("undeliverable", charged=not job.paid_by)
            self.run(self.store.fail(job_id, [JobState.DELIVERING], undeliverable))

    @rule(job_id=IDS)
    def recover(self, job_id: str) -> None:
        """Let recovery give up a job that takes too long, or continue one that waits in vain."""
        job = self.job(job_id)
        if job and job.state is JobState.SUBMITTING and job.create_started_at and not job.is_asking_again:
            self.run(self.store.fail(job_id, [JobState.SUBMITTING], Failure("lost", None)))
        elif job and job.state is JobState.SEPARATING:
            self.run(self.store.fail(job_id, [JobState.SEPARATING], Failure("timeout", True)))
        elif job and job.waits_for:
            payer = self.job(job.waits_for)
            if not payer or payer.state not in IN_CALL:
                self.run(self.store.leave(job))

    # What holds at any time

    @invariant()
    def each_split_is_paid_for_as_often_as_it_was_asked_for(self) -> None:
        """All accounts together pay for the calls that may be charged and those that are to be made."""
        if not hasattr(self, "store"):
            return
        jobs = {job_id: job for job_id in JOBS if (job := self.job(job_id))}
        spent = sum(self.spent(account) for account in (CHAT, BOB))
        kept = sum(self.may_be_kept(made, jobs) for made in self.made)
        to_be_made = sum(_is_to_be_paid(job) for job in jobs.values())
        assert spent <= PRICE * (kept + to_be_made), (spent, kept, to_be_made)
        known = [made.call for made in self.made if made.job_id in jobs and made.call.known == "accepted"]
        assert self.asked or spent >= PRICE * sum(call.is_kept for call in known)

    def may_be_kept(self, made: Made, jobs: dict[str, Job]) -> bool:
        # a deleted job no longer knows what was given back
        return made.call.may_be_kept or (made.job_id not in jobs and made.call.known != "refused")

    def spent(self, account: int) -> int:
        return sum(map(int, self.look().mapping(keys.SPENT.format(account, ACCOUNT_DAY)).values()))

    @invariant()
    def stems_that_came_are_deliverable(self) -> None:
        """Stems that came for a job are delivered, or can still be delivered."""
        for made in self.made:
            job = self.job(made.job_id)
            if job and "stems" in made.call.said and job.state is not JobState.CHOOSING:
                states = (JobState.DELIVERING, JobState.DELIVERED, JobState.CANCELLED)
                assert job.result
                assert job.result.stems
                assert job.state in states or job.is_undelivered or is_overtaken(job)

    @invariant()
    def jobs_that_move_are_looked_after(self) -> None:
        """Recovery finds each job that has not ended, and a waiting job is known to the one it waits for."""
        if not hasattr(self, "store"):
            return
        due = self.look().members(keys.RECOVERY_DUE)
        for job in filter(None, map(self.job, JOBS)):
            if job.state in (JobState.QUEUED, *IN_CALL, JobState.DELIVERING):
                assert job.id in due
            if job.waits_for:
                assert job.state is JobState.QUEUED
                assert job.id in self.look().members(keys.WAITING.format(job.waits_for))


def play(redis_url: str, examples: int, *, is_shrunk: bool = True) -> None:
    """Play so many examples, the same in each run. Raises `AssertionError` and prints the failing steps.

    With `is_shrunk`, Hypothesis looks for the shortest failing steps.
    """
    machine: Any = lambda: SeveralJobs(redis_url)  # noqa: E731 - Hypothesis calls it
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if is_shrunk else [])]
    chosen = settings(fuzzed(examples), stateful_step_count=30, phases=phases)
    stateful.run_state_machine_as_test(machine, settings=chosen)


def _is_to_be_paid(job: Job) -> bool:
    if job.state is JobState.DELIVERING:  # the delivery settles it by its result
        return bool(job.result and not job.result.stems)
    is_awaiting = job.state in (JobState.QUEUED, JobState.SUBMITTING)
    return is_awaiting and (job.is_asking_again or not job.create_started_at)

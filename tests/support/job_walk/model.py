"""The model: one job, its provider, workers and user. `actions` lists what may happen next in a state.

A waiting worker may wait for ever, as if it had died, also once its answer is taken for lost. The clock
stands still between two create calls, so that everything that is due may happen at any moment.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from builders import CHAT, make_job

from job_walk.stored import Step, Steps, Stored, Trial, Tried
from stemdrop.domain.allowance import day_of
from stemdrop.domain.failures import failure_of
from stemdrop.domain.jobs import CREDITS, Failure, Job, JobState, Mode, Obstacle, is_overtaken
from stemdrop.domain.outcomes import Credits, Receipt
from stemdrop.domain.results import Result, Stem
from stemdrop.storage.create_calls import CreateCall
from stemdrop.storage.job_store import JobStore

JOB_ID = "j1"
BEGAN = 1_790_000_000.0
JOB = make_job(id=JOB_ID, mode=None, starts_at=BEGAN)
MODE = Mode.SEPARATE_VOCAL
PRICE = CREDITS[MODE]
ACCOUNT_DAY = day_of(BEGAN)
# What the provider may say of a task that it has accepted.
RESULTS = {
    "stems": Result(200, (Stem("vocals", "https://files.example.com/vocals.mp3"),)),
    "failed": Result(501),
    "empty": Result(200),
    "refunded": Result(531),
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of the model: create calls, results of the provider, and whether it may correct these.

    Without `asides` the model has only the steps that concern the calls and what they cost.
    `prices` are those of two providers that are asked in turn; without any there is one provider.
    """

    calls: int = 2
    prices: tuple[int, ...] = ()
    results: tuple[str, ...] = tuple(RESULTS)
    corrections: bool = True
    asides: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """A create call as its worker, the provider and the job store see it."""

    worker: str = "begun"  # "begun": not sent yet, "waiting" for the answer, "gone": it died or gave up
    provider: str = ""  # "": not sent, "asked", "accepted" (and charged), "refused"
    known: str = ""  # what the store was told of it: "", "accepted", "refused"
    said: frozenset[str] = frozenset()  # the results that were called back
    price: int = PRICE

    @property
    def is_kept(self) -> bool:
        """Whether the provider has charged the call and has not given the credits back."""
        return self.provider == "accepted" and "refunded" not in self.said

    @property
    def may_be_kept(self) -> bool:
        """Whether the provider has charged the call, or may do so, as far as the store was told."""
        return self.known != "refused" and ("refunded" not in self.said or "stems" in self.said)


@dataclass(frozen=True, slots=True)
class State:
    """A state: what is stored, and what only the provider, the workers and the user know."""

    stored: Stored
    calls: tuple[Call, ...] = ()
    asked: frozenset[str] = frozenset()  # the taps by which the user has agreed to pay for another call
    run: str = ""  # the result that a delivery has read
    is_other_charged: bool = False  # whether that delivery has read that another call was charged

    @property
    def job(self) -> Job | None:
        return self.stored.job(JOB_ID)

    def with_call(self, number: int, **changes: Any) -> "State":
        calls = list(self.calls)
        calls[number] = replace(calls[number], **changes)
        return replace(self, calls=tuple(calls))


@dataclass(frozen=True, slots=True)
class Moved:
    """The state after an action, and the result of its step, if it has one."""

    state: State
    tried: Tried | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """An action, with or without a step of the store; it leads to `state` unless the store refuses."""

    before: State
    state: State
    trial: Trial | None = None

    def moved(self, tried: Tried | None) -> Moved:
        if tried is None:
            return Moved(self.state)
        is_refused = tried.answer in (False, "", Receipt.UNKNOWN)
        return Moved(replace(self.before if is_refused else self.state, stored=tried.after), tried)


def _noted(name: str, provider: str, price: int) -> CreateCall:
    return CreateCall(
        id=name,
        job_id=JOB_ID,
        provider=provider,
        mode=MODE,
        instrument="",
        duration_s=0,
        price=price,
        source="",
        is_uploaded=False,
        asked_at=0,
    )


Named = Iterator[tuple[str, Action]]


def task_of(number: int) -> str:
    return f"task{number + 1}"


class Model:
    """Lists the actions of a state, with names that say who does what."""

    def __init__(self, steps: Steps, bounds: Bounds) -> None:
        self.steps = steps
        self._bounds = bounds

    async def first(self) -> State:
        """Return the state in which the song has arrived."""
        await self.steps.redis.flushdb()
        await JobStore(self.steps.redis, lambda: BEGAN).add(JOB, "song")
        return State(await self.steps.take())

    def actions(self, state: State) -> dict[str, Action]:
        """Return the actions that may come next, by name."""
        parts: tuple[Callable[[State], Named], ...] = (
            self._user,
            self._submission,
            self._provider,
            self._recovery,
            self._delivery,
        )
        if self._bounds.asides:
            parts += (self._asides,)
        return {name: action for part in parts for name, action in part(state)}

    def _step(self, state: State, name: str, step: Step, **changes: Any) -> Action:
        # only a create call's time is compared with another
        now = BEGAN + 1000 * len(state.calls) if name.startswith("begin_create") else BEGAN
        changed = replace(state, **changes) if changes else state
        return Action(state, changed, Trial(state.stored, name, now, step))

    def _user(self, state: State) -> Named:
        yield "the user picks", self._pick(state)
        yield "the user cancels", self._step(state, "cancel", lambda store: store.cancel(JOB_ID))
        yield "the user takes it up again", self._step(state, "resume", lambda store: store.resume(JOB_ID))
        for number in range(len(state.calls)):
            yield f"the user asks again after call {number + 1}", self._ask_again(state, number)

    def _asides(self, state: State) -> Named:
        job = state.job
        yield "the song starts by itself", self._pick(state, BEGAN)
        yield "the user undoes that", self._step(state, "undo", lambda store: store.undo(JOB_ID))
        yield "the user deletes", self._step(state, "forget", lambda store: store.forget(JOB_ID))
        yield "the user tries again", self._step(state, "retry", lambda s: s.mark_retried(JOB_ID, "j2"))
        yield "the end is shown", self._step(state, "close", lambda store: store.close(JOB_ID))
        if job and (job.is_undelivered or job.is_incomplete):
            yield "the user has stems fetched again", self._deliver_again(state, Credits.KEEP)
        if state.run == "stems":
            yield "the chat takes no music now", self._fail(state, "delivering", Obstacle.NO_MUSIC, True)
        if state.calls and state.calls[0].provider == "accepted":
            yield "a callback of another chat", self._receive(state, 0, "stems", chat_id=CHAT + 1)

    def _pick(self, state: State, starts_at: float = 0) -> Action:
        name = f"pick {starts_at}"
        options = {"starts_at": starts_at, "agreed_price": PRICE}
        return self._step(state, name, lambda store: store.pick(JOB, MODE, "", 0, **options))  # type: ignore[arg-type]

    def _ask_again(self, state: State, number: int) -> Action:
        tap = f"tap{number + 1}"
        seen = replace(JOB, create_started_at=BEGAN + 1000 * number)
        step = f"ask_again {tap}"
        return self._step(state, step, lambda s: s.ask_again(seen, tap, PRICE), asked=state.asked | {tap})

    def _submission(self, state: State) -> Named:
        if len(state.calls) < self._bounds.calls:
            yield f"a worker begins call {len(state.calls) + 1}", self._begin(state)
        for number, call in enumerate(state.calls):
            name = f"call {number + 1}"
            if call.worker == "begun":
                yield (
                    f"{name} is sent",
                    self._known(state, number, worker="waiting", provider="asked"),
                )
            if call.worker == "waiting":
                yield from self._answer(state, number)
            yield f"{name} is found without an answer", self._lose(state, number)
        if (job := state.job) and job.asked_again_by:
            yield "the submission gives up, asked again", self._fail(state, "submitting", "unreachable", None)

    def _begin(self, state: State) -> Action:
        made = Call() if self._bounds.asides else Call("waiting", "asked")
        number = len(state.calls)
        name, call = f"begin_create {number + 1}", None
        if prices := self._bounds.prices:
            made = replace(made, price=prices[number % len(prices)])
            call = _noted(name, self._provider_of(number), made.price)
        calls = (*state.calls, made)
        return self._step(state, name, lambda store: store.begin_create(JOB_ID, call), calls=calls)

    def _provider_of(self, number: int) -> str:
        return f"p{number % len(self._bounds.prices) + 1}" if self._bounds.prices else ""

    def _answer(self, state: State, number: int) -> Named:
        name, call = f"call {number + 1}", state.calls[number]
        gone = state.with_call(number, worker="gone")
        told = {"calls": state.with_call(number, worker="gone", known=call.provider).calls}
        if call.provider == "accepted":
            task = task_of(number)
            begun = f"begin_create {number + 1}" if self._bounds.prices else ""
            step = self._step(gone, f"accept {task}", lambda store: store.accept(JOB_ID, task, begun), **told)
            yield f"the task of {name} is stored", step
        if call.provider == "refused":
            seen = replace(JOB, account_day=ACCOUNT_DAY)
            token = f"begin_create {number + 1}"
            noted = {"code": "402", "avoid": self._provider_of(number), "told": "402"}
            step = self._step(
                gone, f"not_accepted {token}", lambda s: s.not_accepted(seen, token, **noted), **told
            )
            yield f"the refusal of {name} is stored", step

    def _lose(self, state: State, number: int) -> Action:
        token = f"begin_create {number + 1}"
        return self._step(state, f"lose_answer {token}", lambda store: store.lose_answer(JOB_ID, token))

    def _known(self, state: State, number: int, **changes: Any) -> Action:
        """Return an action of which the store learns nothing."""
        return Action(state, state.with_call(number, **changes))

    def _provider(self, state: State) -> Named:
        for number, call in enumerate(state.calls):
            name = f"call {number + 1}"
            if call.provider == "asked":
                yield (
                    f"the provider accepts {name}",
                    self._known(state, number, provider="accepted"),
                )
                yield (
                    f"the provider refuses {name}",
                    self._known(state, number, provider="refused"),
                )
            if call.provider == "accepted":
                fetch = self._step(state, "note_fetch", lambda store: store.note_source_fetched(JOB_ID))
                yield f"the provider fetches the song for {name}", fetch
                if self._bounds.prices and "refunded" in call.said:
                    yield f"another provider is asked after {name}", self._replace(state, number)
                for kind in self._bounds.results:
                    # stems of a refunded and replaced task may still come, but not amid a delivery
                    is_late = f"replaced:{task_of(number)}" in state.stored.fields(JOB_ID) and not state.run
                    if self._may_say(call, kind) or (is_late and kind == "stems"):
                        yield (
                            f"call {number + 1} is called back: {kind}",
                            self._call_back(state, number, kind),
                        )

    def _replace(self, state: State, number: int) -> Action:
        seen = replace(JOB, task_id=task_of(number))
        return self._step(state, f"fail_over {number + 1}", lambda store: store.fail_over(seen, "531"))

    def _may_say(self, call: Call, kind: str) -> bool:
        """Return whether a call may bring `kind`: again, or after another result, unless one is a refund."""
        if not call.said or kind in call.said:
            return True
        return self._bounds.corrections and not {kind, *call.said} & {"refunded"}

    def _call_back(self, state: State, number: int, kind: str) -> Action:
        said = state.calls[number].said | {kind}
        calls = state.with_call(number, known="accepted", said=said).calls
        return self._receive(state, number, kind, calls=calls)

    def _receive(self, state: State, number: int, kind: str, chat_id: int = CHAT, **changes: Any) -> Action:
        task, result, by = task_of(number), RESULTS[kind], self._provider_of(number)
        name = f"receive {task} {kind} {chat_id}"
        return self._step(state, name, lambda s: s.receive(JOB_ID, chat_id, task, result, by), **changes)

    def _fail(self, state: State, job_state: str, code: str, charged: bool | None) -> Action:
        failure = Failure(code, charged)
        name = f"fail {job_state} {code} {charged}"
        return self._step(state, name, lambda store: store.fail(JOB_ID, [JobState(job_state)], failure))

    def _recovery(self, state: State) -> Named:
        yield "recovery takes the answer for lost", self._fail(state, "submitting", "lost", None)
        yield "recovery gives up before a call", self._fail(state, "submitting", "unreachable", False)
        yield "recovery gives up waiting", self._fail(state, "separating", "timeout", True)
        if (job := state.job) and is_overtaken(job):
            yield "recovery prefers the stems that came", self._deliver_again(state, Credits.SETTLE)

    def _deliver_again(self, state: State, credits: Credits) -> Action:
        return self._step(state, f"deliver_again {credits}", lambda s: s.deliver_again(JOB_ID, credits))

    def _delivery(self, state: State) -> Named:
        job = state.job
        if job and job.state is JobState.DELIVERING and job.result:
            kind = next(kind for kind, result in RESULTS.items() if result == job.result)
            begun = replace(state, run=kind, is_other_charged=job.is_other_charged)
            step = self._step(begun, "begin_delivery", lambda store: store.begin_delivery(JOB_ID))
            yield "a delivery begins", step
        if state.run == "stems":
            yield "the delivery ends", self._deliver(state)
        elif state.run == "refunded" and self._is_replaced(state):
            yield "the delivery finds its task replaced", Action(state, replace(state, run=""))
        elif state.run:
            yield "the delivery explains the failure", self._explain(state)

    def _is_replaced(self, state: State) -> bool:
        """Whether the job no longer has the refunded result that a delivery has read."""
        job = state.job
        has_it = job and job.state is JobState.DELIVERING and job.result == RESULTS["refunded"]
        return not has_it and any(name.startswith("replaced:") for name in state.stored.fields(JOB_ID))

    def _deliver(self, state: State) -> Action:
        ended = replace(state, run="", is_other_charged=False)
        return self._step(
            ended,
            "delivered",
            lambda s: s.move(JOB_ID, [JobState.DELIVERING], JobState.DELIVERED, missing=()),
        )

    def _explain(self, state: State) -> Action:
        failure = failure_of(RESULTS[state.run])
        assert failure
        credits = Credits.RETURN if failure.charged is False else Credits.SETTLE
        if state.is_other_charged:
            failure = replace(failure, charged=True)
        ended = replace(state, run="", is_other_charged=False)
        return self._step(
            ended,
            f"explain {failure} {credits}",
            lambda store: store.fail(JOB_ID, [JobState.DELIVERING], failure, credits),
        )

"""The invariants: what holds in every state, and in every step, whatever the provider, workers and user do.

Each is a function whose name and sentence a failing walk prints. To add one, write it with its decorator, and
plant a fault that it alone finds (`planted_faults.py`): an invariant that finds none may be empty.
"""

from collections.abc import Callable

from builders import CHAT

from job_walk.model import ACCOUNT_DAY, JOB_ID, PRICE, Model, Moved, State
from stemdrop.domain.jobs import FINAL, Charge, JobState, is_overtaken
from stemdrop.storage import keys

OfState = Callable[[State], bool]
OfStep = Callable[[State, str, Moved], bool]
STATES: dict[str, OfState] = {}
STEPS: dict[str, OfStep] = {}
OF_TWO: dict[str, Callable[..., bool]] = {}  # those of two jobs, in `two_jobs.py`
_ENDED_UNSPLIT = (JobState.FAILED, JobState.CANCELLED)
_IN_FLIGHT = (JobState.SUBMITTING, JobState.SEPARATING, JobState.DELIVERING)
_SPENT = keys.SPENT.format(CHAT, ACCOUNT_DAY)


def of_states(invariant: OfState) -> OfState:
    """Register an invariant of every state."""
    STATES[invariant.__name__] = invariant
    return invariant


def of_steps(invariant: OfStep) -> OfStep:
    """Register an invariant of every step, given the state before, the action's name and the result."""
    STEPS[invariant.__name__] = invariant
    return invariant


def sentence(name: str) -> str:
    """Return the first line of an invariant's docstring, without the full stop."""
    found = STATES.get(name) or STEPS.get(name) or OF_TWO.get(name)
    return ((found and found.__doc__) or "").strip().partition("\n")[0].rstrip(".")


class OneJob(Model):
    """The model of one job with its invariants, which `walk.explore` checks."""

    ours: tuple[str, ...] = ("recovery ", "a delivery ", "the delivery ", "a worker ")

    def has_ended(self, state: State) -> bool:
        job = state.job
        return job is None or job.state is JobState.CHOOSING or (job.state in FINAL and not is_overtaken(job))

    def violated(self, before: State, name: str, moved: Moved, *, is_known: bool) -> list[str]:
        """Return the invariants that do not hold after an action; those of states only for a new state."""
        broken = [invariant for invariant, holds in STEPS.items() if not holds(before, name, moved)]
        if not is_known:
            broken += [invariant for invariant, holds in STATES.items() if not holds(moved.state)]
        return broken


def spent(state: State) -> int:
    """Return the credits of the account's day that are for the job."""
    return int(state.stored.mapping(_SPENT).get(JOB_ID, "0"))


def _begins(before: State, moved: Moved) -> bool:
    return len(moved.state.calls) > len(before.calls)


def stems_came(state: State) -> bool:
    return any("stems" in call.said for call in state.calls)


@of_steps
def create_is_sent_once_for_one_price(before: State, action: str, moved: Moved) -> bool:
    """While a create call may cost credits, another begins only when its user has agreed to pay."""
    calls = moved.state.calls
    return not _begins(before, moved) or sum(c.may_be_kept for c in calls) <= 1 + len(moved.state.asked)


@of_steps
def no_create_after_an_acceptance(before: State, action: str, moved: Moved) -> bool:
    """No create call begins while the store knows that an earlier one was accepted and has no result yet."""
    return not _begins(before, moved) or not any(c.known == "accepted" and not c.said for c in before.calls)


@of_steps
def no_create_after_a_fetch(before: State, action: str, moved: Moved) -> bool:
    """No create call begins, or is allowed, once the song was fetched, unless all calls came to nothing."""
    is_fetched = before.stored.fields(JOB_ID).get("source_fetched_at", "0") != "0"
    is_allowed = moved.state.asked > before.asked
    may_be_for = any(call.may_be_kept for call in before.calls)
    return not (is_fetched and may_be_for and (is_allowed or _begins(before, moved)))


@of_steps
def nothing_starts_after_an_undo(before: State, action: str, moved: Moved) -> bool:
    """A song starts by itself only until its user has undone that."""
    was, job = before.job, moved.state.job
    if action == "the user undoes that":
        return job is None or not job.starts_at
    is_stopped = was is None or not was.starts_at
    return action != "the song starts by itself" or not is_stopped or moved.state.stored is before.stored


@of_states
def only_a_new_song_starts_by_itself(state: State) -> bool:
    """A job that was picked, or cancelled, waits for its user when it is taken up again."""
    return not state.job or state.job.state is JobState.CHOOSING or not state.job.starts_at


@of_steps
def an_end_stays(before: State, action: str, moved: Moved) -> bool:
    """A job that has ended moves on only to deliver stems, by a lost answer that came, or by its user."""
    was, job = before.job, moved.state.job
    if not was or not job or was.state not in FINAL or job.state is was.state:
        return True
    if job.state is JobState.DELIVERING and was.state is not JobState.CANCELLED:
        return True
    by = {JobState.CANCELLED: "the user takes it up again", JobState.FAILED: "the task of call "}
    return action.startswith(by.get(was.state, "-"))


@of_steps
def repetition_changes_nothing(before: State, action: str, moved: Moved) -> bool:
    """A step that runs twice, because its connection broke, leaves what it left the first time."""
    return moved.tried is None or moved.tried.is_idempotent


@of_steps
def a_foreign_callback_changes_nothing(before: State, action: str, moved: Moved) -> bool:
    """A callback with the link of another chat changes nothing."""
    return action != "a callback of another chat" or moved.state.stored is before.stored


@of_steps
def own_callbacks_are_taken(before: State, action: str, moved: Moved) -> bool:
    """The callback of a task that the provider accepted for the job is not refused as foreign."""
    return " is called back: " not in action or moved.tried is None or moved.tried.answer != "foreign"


@of_states
def delivered_means_settled(state: State) -> bool:
    """A job that is delivered, or being delivered with stems, is paid for, unless it was refunded."""
    job = state.job
    if not job or not (job.state is JobState.DELIVERED or (job.result and job.result.stems)):
        return True
    was_given_back = f"replaced:{job.task_id}" in state.stored.fields(JOB_ID)
    return job.charge is Charge.SETTLED or was_given_back


@of_states
def stems_that_came_are_deliverable(state: State) -> bool:
    """Stems that came are delivered, or can still be delivered at no cost, if only to a later job."""
    job = state.job
    if not job or not stems_came(state):
        return True
    is_deliverable = job.state in (JobState.DELIVERING, JobState.DELIVERED, JobState.CANCELLED)
    return bool(job.result and job.result.stems) and (
        is_deliverable or job.is_undelivered or is_overtaken(job)
    )


@of_states
def no_user_pays_for_nothing(state: State) -> bool:
    """A job that has ended, none of whose create calls was or may have been accepted, costs nothing."""
    if state.job is None:  # a deleted job no longer knows what was given back
        return any(call.known != "refused" for call in state.calls) or spent(state) == 0
    has_ended = state.job.state in _ENDED_UNSPLIT
    return not has_ended or any(call.may_be_kept for call in state.calls) or spent(state) == 0


@of_states
def no_user_pays_more_than_the_provider_may_keep(state: State) -> bool:
    """A job costs at most the calls whose credits the provider may keep, and the one that is to be made."""
    job = state.job
    if job is None or job.state is JobState.DELIVERING:  # the delivery settles it by its result
        return True
    is_awaiting = job.state in (JobState.QUEUED, JobState.SUBMITTING)
    is_to_be_made = is_awaiting and (job.is_asking_again or not job.create_started_at)
    return spent(state) <= PRICE * is_to_be_made + sum(call.price for call in state.calls if call.may_be_kept)


@of_states
def no_user_pays_more_than_agreed(state: State) -> bool:
    """A job costs at most what the button said, for the first call and for each that its user asked for."""
    return spent(state) <= PRICE * (1 + len(state.asked))


@of_states
def nothing_is_given_back_that_the_provider_kept(state: State) -> bool:
    """Each call that the store knows as charged is paid for on the account's day."""
    if state.job is None and state.asked:  # a deleted job no longer knows that it had two calls
        return True
    known = sum(call.price for call in state.calls if call.is_kept and call.known == "accepted")
    not_said = [call for call in state.calls if call.may_be_kept and "refunded" not in call.said]
    may_be = min((call.price for call in not_said), default=0)
    return spent(state) >= max(known, may_be)


@of_states
def uncharged_is_said_only_when_certain(state: State) -> bool:
    """A failure is told as *not charged* only if the provider neither keeps nor may still take credits."""
    job = state.job
    if not job or job.state is not JobState.FAILED or not job.failure or job.failure.charged is not False:
        return True
    return not any(call.is_kept or call.may_be_kept for call in state.calls)


@of_states
def a_refund_is_told(state: State) -> bool:
    """A failure is not told as *charged* when all that the provider took was given back."""
    job = state.job
    if not job or job.state is not JobState.FAILED or not job.failure or not job.failure.charged:
        return True
    return any(call.may_be_kept for call in state.calls)


@of_states
def what_moves_is_looked_after(state: State) -> bool:
    """A job that has not ended is in the lists that recovery reads; else it would stop with its process."""
    job = state.job
    if not job or job.state in FINAL or job.state is JobState.CHOOSING:
        return True
    return all(JOB_ID in state.stored.members(key) for key in (keys.OPEN, keys.RECOVERY_DUE))


@of_states
def lists_say_what_the_state_says(state: State) -> bool:
    """A job is in its account's queue, the jobs in progress, the failed and delivered ones by its state."""
    job, stored = state.job, state.stored
    is_in = job.state if job else None
    is_retried = "retried_as" in stored.fields(JOB_ID)
    return (
        (JOB_ID in stored.members(keys.FLIGHT.format(CHAT))) == (is_in in _IN_FLIGHT)
        and (JOB_ID in stored.members(keys.QUEUE.format(CHAT))) == (is_in is JobState.QUEUED)
        and (is_retried or (JOB_ID in stored.members(keys.FAILED)) == (is_in is JobState.FAILED))
        and (JOB_ID in stored.members(keys.DELIVERED)) == (is_in is JobState.DELIVERED)
    )


@of_states
def nothing_is_left_of_a_deleted_job(state: State) -> bool:
    """A deleted job leaves nothing but what its account has spent, where that is noted, and its calls."""
    left = {key for key in state.stored.naming(JOB_ID) if not key.startswith(keys.CALL.format(""))}
    noted = {keys.SPENT_OF.format(JOB_ID), keys.CALLS_OF.format(JOB_ID)}
    return state.job is not None or left <= {_SPENT} | noted


@of_states
def the_ledger_says_what_came(state: State) -> bool:
    """Each call's record says what the store was told of it, at whichever provider it was made."""
    for number, call in enumerate(state.calls, 1):
        noted = state.stored.mapping(keys.CALL.format(f"begin_create {number}")).get("outcome")
        if noted is None:
            continue
        told = {call.known}
        if call.said & {"stems", "empty"}:
            told = {"succeeded"}
        elif call.said:
            told = {"refunded" if it == "refunded" else "failed" for it in call.said}
        elif not call.known:
            told = {"asked", "lost"}
        if noted not in told:
            return False
    return True

"""The actions of `stemdrop jobs`: retry, resend, drop.

Each action is idempotent, also when several run at once. An action stores its order in Redis before it
returns, and the running processes carry the order out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import httpx
from redis.asyncio import Redis
from telegram.error import TelegramError

from stemdrop.chat.refusals import is_gone
from stemdrop.domain.failures import failure_of, undeliverable
from stemdrop.domain.jobs import CANCELLABLE, FINAL, Charge, Job, JobState
from stemdrop.domain.taps import NOT_OFFERED_TEXT
from stemdrop.errors import NoSuchJob, StoreUnavailable, TryLater
from stemdrop.http.clients import client_options
from stemdrop.settings import Settings
from stemdrop.storage.connection import translated
from stemdrop.storage.dead_letters import DeadLetter
from stemdrop.tasks.engine import Engine, Task
from stemdrop.wiring import Parts

# The operator waits no longer than this for Telegram, since recovery updates the job's message later.
TELEGRAM_WAIT_S = 5.0
_PACK, _RENDER = f"{Task.PACK}:", f"{Task.RENDER}:"


@dataclass(frozen=True, slots=True)
class ActionOutcome:
    """An action's outcome: a line that describes it, the job that it changed, and its price in credits."""

    is_done: bool
    text: str
    job_id: str = ""
    credits: int = 0


class OperatorActions:
    """The operator's actions on jobs and given-up tasks.

    Every method may raise `StoreUnavailable`; recovery finishes an action that was begun by then.
    """

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._engine = parts.engine
        self._orders = parts.orders
        self._abilities = parts.abilities
        self._dead_letters = parts.dead_letters
        self._remixes = parts.remixes
        self._account_queue = parts.account_queue

    async def perform(self, action: str, found: Job | DeadLetter) -> ActionOutcome:
        """Run `retry`, `resend` or `drop`. Raises `NoSuchJob` when the job was deleted meanwhile."""
        if isinstance(found, DeadLetter):
            return await self._perform_on_task(action, found)
        actions: dict[str, Callable[[Job], Awaitable[ActionOutcome]]] = {
            "retry": self.retry,
            "resend": self.resend,
            "drop": self.drop,
        }
        return await actions[action](found)

    async def retry(self, job: Job) -> ActionOutcome:
        """Fetch stems that are paid for, or else order a failed job once more, beyond the daily limit."""
        if job.state is JobState.DELIVERING:
            return ActionOutcome(True, f"job {job.id} is being delivered already", job.id)
        if job.is_undelivered or (job.state is JobState.DELIVERED and job.missing):
            await self._orders.fetch_again(job)
            what = ", ".join(job.missing) or "its stems, which are paid for,"
            return ActionOutcome(True, f"job {job.id}: fetching {what} again; costs nothing", job.id)
        if job.state is not JobState.FAILED or job.mode is None:
            return ActionOutcome(False, f"job {job.id} {_is(job)}: nothing to try again")
        earlier = (await self._store.history(job.id)).retried_as
        ordered = await self._orders.retry(job, is_unlimited=True)
        if ordered.note == NOT_OFFERED_TEXT:
            return ActionOutcome(False, f"job {job.id}: no provider offers its mode now; nothing was ordered")
        if ordered.job_id == job.id:
            return ActionOutcome(True, f"job {job.id}: its result has come after all; costs nothing", job.id)
        new = await self._store.get(ordered.job_id)
        if new is None:
            raise NoSuchJob(f"job {ordered.job_id} was deleted meanwhile")
        if earlier:
            return ActionOutcome(
                new.state not in FINAL,
                f"job {job.id} was tried again before, as job {new.id}, which {_is(new)}",
                new.id if new.state not in FINAL else "",
            )
        credits, cost = _cost(new)
        return ActionOutcome(True, f"job {job.id}: trying again as job {new.id}; {cost}", new.id, credits)

    async def resend(self, job: Job) -> ActionOutcome:
        """Send all stems of an ended job again from Telegram's copies, or those that could not be sent."""
        if job.is_undelivered:
            await self._orders.fetch_again(job)
            return ActionOutcome(True, f"job {job.id}: sending its stems now; costs nothing", job.id)
        if job.state not in FINAL:
            return ActionOutcome(False, f"job {job.id} {_is(job)}: it can be resent only after it has ended")
        ordered = await self._orders.resend(job)
        new = await self._store.get(ordered.job_id)
        if ordered.job_id == job.id or new is None:
            return ActionOutcome(False, f"job {job.id} {_is(job)}: Telegram keeps no stems of it")
        stems = "1 stem" if len(new.cached) == 1 else f"{len(new.cached)} stems"
        text = f"job {job.id}: sending {stems} again as job {new.id}; costs nothing"
        return ActionOutcome(True, text, new.id)

    async def drop(self, job: Job) -> ActionOutcome:
        """End an open job; remove a failed or incomplete one from the dead letters."""
        current: Job | None = job
        while current is not None:
            if current.state in FINAL:
                return await self._dropped(current, is_ended_now=current is not job)
            if current.state in CANCELLABLE:
                await self._store.cancel(job.id)
            else:
                of_result = current.result and failure_of(current.result)
                await self._store.fail_delivery(current, of_result or undeliverable(current))
            # read again: another process may have changed the job first
            current = await self._store.get(job.id)
            await self._account_queue.next(job.account)
        raise NoSuchJob(f"job {job.id} was deleted meanwhile")

    async def _dropped(self, job: Job, *, is_ended_now: bool) -> ActionOutcome:
        is_listed = await self._store.dismiss(job.id)
        if job.state is JobState.CANCELLED and is_ended_now:
            return ActionOutcome(True, f"job {job.id}: cancelled; {_credits(job)}", job.id)
        if not is_listed:
            return ActionOutcome(False, f"job {job.id} {_is(job)}: it is no dead letter")
        how = "ended, " if is_ended_now else ""
        text = f"job {job.id} {_is(job)}: {how}no longer a dead letter; {_credits(job)}"
        return ActionOutcome(True, text, job.id if is_ended_now else "")

    async def _perform_on_task(self, action: str, letter: DeadLetter) -> ActionOutcome:
        if action == "drop":
            dropped = await self._dead_letters.drop(letter.key)
            return ActionOutcome(dropped, f"task {letter.key}: {'dropped' if dropped else 'dropped before'}")
        if action != "retry" or not letter.key.startswith((_PACK, _RENDER)):
            return ActionOutcome(
                False, f"task {letter.key}: users' messages are not stored; they have to send it again"
            )
        if letter.key.startswith(_PACK):
            order = letter.key.removeprefix(_PACK)
            await self._engine.add(Task.PACK, order, order)
        else:
            order = letter.key.removeprefix(_RENDER)
            remix = await self._remixes.get(order)
            if remix is None or not await self._remixes.reopen(remix):
                return ActionOutcome(False, f"task {letter.key}: its order has ended; it can be ordered anew")
            await self._engine.add(Task.RENDER, order, order)
        await self._dead_letters.drop(letter.key)
        return ActionOutcome(True, f"task {letter.key}: run again; costs nothing")


async def perform(settings: Settings, redis: Redis, action: str, found: Job | DeadLetter) -> ActionOutcome:
    """Perform the action and update the job's message in the chat, if Telegram answers at once."""
    options = client_options(settings.proxies)
    with translated():
        async with Engine(settings.redis_url) as engine, httpx.AsyncClient(**options) as http:
            parts = Parts(settings, redis, engine, http=http, api_http=http)
            outcome = await OperatorActions(parts).perform(action, found)
            if not outcome.job_id:
                return outcome
            return replace(outcome, text=outcome.text + await _refresh_message(parts, outcome.job_id))


async def _refresh_message(parts: Parts, job_id: str) -> str:
    """Edit the job's message; returns a remark where that failed. Recovery then edits it later."""
    try:
        async with asyncio.timeout(TELEGRAM_WAIT_S), parts.bot:
            await parts.job_message.show_current(job_id)
    except (TelegramError, TryLater, StoreUnavailable, TimeoutError) as error:
        is_user_gone = isinstance(error, TelegramError) and is_gone(error)
        return f"; its user {'can no longer' if is_user_gone else 'is still to'} be notified"
    return ""


def _cost(job: Job) -> tuple[int, str]:
    """Return the credits that a job which was just ordered costs, and a clause that says so."""
    if job.cached:
        return 0, "Telegram keeps its stems, so it costs nothing"
    if job.paid_by:
        return 0, f"job {job.paid_by} has paid for its stems, so it costs nothing"
    if job.waits_for:
        return 0, f"it waits for the stems of job {job.waits_for} and costs nothing if these come"
    credits = job.agreed_price or 0
    return credits, f"costs {credits} credits" if credits else "it costs nothing"


def _is(job: Job) -> str:
    if job.failure and job.state is JobState.FAILED:
        return f"failed ({job.failure.code})"
    was = "was" if job.state in FINAL else "is"
    return f"{was} {job.state.value}{' with stems missing' if job.is_incomplete else ''}"


def _credits(job: Job) -> str:
    where = {
        Charge.NONE: "it held no credits",
        Charge.HELD: f"its {job.price} credits are held",
        Charge.SETTLED: f"its {job.price} credits are spent",
        Charge.RETURNED: f"its {job.price} credits went back to its account",
    }
    return where[job.charge]

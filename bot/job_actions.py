"""What screens do with jobs: offer the buttons that help, act on them, cancel jobs and show the result."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from telegram.error import TelegramError

from stemdrop.chat.callback_data import credits_of_word, credits_word
from stemdrop.chat.job_message import JobMessage
from stemdrop.chat.translations import Language
from stemdrop.domain.failures import Remedy, remedies
from stemdrop.domain.jobs import Job, JobState, Obstacle
from stemdrop.domain.taps import Ordered, Tapped
from stemdrop.errors import TryLater
from stemdrop.services.orders import Orders
from stemdrop.storage.job_store import JobStore

log = logging.getLogger(__name__)


class JobButton(StrEnum):
    """What a job's button on a screen does; the value is its letter in `callback_data`.

    The letter of `RETRY` is followed by the price that the button shows.
    """

    CANCEL = "x"
    RESUME = "c"
    RETRY = "r"
    FETCH = "f"
    RESEND = "s"


@dataclass(frozen=True)
class JobActions:
    store: JobStore
    orders: Orders
    job_message: JobMessage

    async def offered(self, job: Job, translate: Language) -> list[tuple[str, str]]:
        """Return the buttons that help a job that has ended: pairs of a word for `perform` and a label.

        No button pays again for stems that are paid for.
        """
        offered: list[tuple[str, str]] = []
        if job.is_paid_and_cancelled:
            offered.append((JobButton.RESUME, translate("button.resume")))
        elif job.is_undelivered or (job.state is JobState.DELIVERED and job.missing):
            is_obstacle = job.failure and job.failure.code in set(Obstacle)
            label = "button.send_now" if is_obstacle else "button.fetch_again"
            offered.append((JobButton.FETCH, translate(label)))
        elif job.failure and job.mode and Remedy.RETRY in remedies(job.failure):
            details = await self.job_message.details(job)
            price = details.price(translate, job.mode, job.instrument)
            word = f"{JobButton.RETRY}{credits_word(details.credits(job.mode, job.instrument))}"
            offered.append((word, translate.priced("button.retry", price)))
        if job.state is JobState.DELIVERED:
            sent = await self.store.sent(job.id)
            if any(stem.file_id for stem in sent.values()):
                offered.append((JobButton.RESEND, translate("button.resend")))
        return offered

    async def perform(self, word: str, job: Job, tapped: Tapped, *, is_unlimited: bool = False) -> Ordered:
        """Do what a button says. `is_unlimited` retries beyond the account's daily credits."""
        match word[:1]:
            case JobButton.CANCEL:
                return Ordered(job.id, None if await self.orders.cancel(job) else "tap.too_late")
            case JobButton.RESUME:
                return await self.orders.resume(job)
            case JobButton.RETRY:
                return await self.orders.retry(
                    job, is_unlimited=is_unlimited, at_most=credits_of_word(word[1:])
                )
            case JobButton.FETCH:
                return await self.orders.fetch_again(job)
            case JobButton.RESEND:
                return await self.orders.resend(job, tapped)
        return Ordered(job.id, "tap.stale_screen")

    async def cancel(self, jobs: Iterable[Job], by: str = "") -> list[Job]:
        """Cancel jobs and return those that could be cancelled.

        Queued jobs come first, since the end of another job would start them.
        """
        ordered = sorted(jobs, key=lambda job: job.state is not JobState.QUEUED)
        return [job for job in ordered if await self.orders.cancel(job, by)]

    async def show(self, jobs: Iterable[Job], patience_s: float | None = None) -> None:
        """Show the jobs' current state in their messages; what fails is left to the recovery."""
        for job in jobs:
            try:
                if current := await self.store.get(job.id):
                    await self.job_message.show(current, patience_s)
                    await self.job_message.show_newer_state(current, patience_s)
            except (TelegramError, TryLater) as error:
                log.info("job %s: its message could not be edited: %s", job.id, error)

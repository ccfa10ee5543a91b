"""The outcomes of a job's steps, and the records that the job store returns."""

from dataclasses import dataclass
from enum import StrEnum


class Receipt(StrEnum):
    STORED = "stored"  # the job moved on
    REPEATED = "repeated"  # known already, or the job no longer waits for it
    FOREIGN = "foreign"  # job, chat and task do not belong together
    UNKNOWN = "unknown"  # no such job


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was sent with one file, as Telegram identifies both."""

    message_id: int
    file_id: str
    file_unique_id: str
    kind: str = "audio"  # or "document"
    title: str = ""  # under which it was sent


class Run(StrEnum):
    """A kind of task whose runs are counted per job."""

    SUBMIT = "submit"
    DELIVER = "deliver"
    BROKEN_DELIVERY = "broken delivery"  # begun and not ended: its process died, or it failed
    ZIP = "zip"  # reset when the order is done
    SMALL = "small"  # the same


@dataclass(frozen=True, slots=True)
class DeliveryRun:
    """A run of a job's delivery: its token, its number, and how many runs up to it have not ended."""

    token: str
    number: int
    broken: int


@dataclass(frozen=True, slots=True)
class History:
    """What is stored of a job beside its attributes.

    `runs` counts how often each kind of task was begun. `retried_as` is the job that 'try again' made of it.
    `is_open`: its end is still to be shown. `have_calls_failed`: all calls that were not refused have failed.
    """

    runs: dict[Run, int]
    retried_as: str
    is_open: bool
    have_calls_failed: bool


class Picked(StrEnum):
    STARTED = "submitting"  # its credits are held, its submission may be ordered
    QUEUED = "queued"  # its credits are held, it waits for earlier jobs
    WAITING = "waiting"  # it waits for a job that pays for the same split
    SHARED = "delivering"  # another job has paid for its result
    OVER = "over"  # it would exceed the account's credits of the day; nothing changed
    DEARER = "dearer"  # it would cost more than it may; nothing changed
    LATE = "late"  # picked or cancelled before; nothing changed


class Credits(StrEnum):
    """What becomes of the credits that a job holds when the job moves on."""

    KEEP = "keep"
    SETTLE = "settle"  # they are spent
    RETURN = "return"  # nothing was charged
    CANCEL = "cancel"  # returned, unless the create call has been begun

"""The outcomes of a job's steps, and the records that the job store returns."""

from dataclasses import dataclass
from enum import StrEnum


class Receipt(StrEnum):
    STORED = "stored"  # the job moved on
    REPEATED = "repeated"  # known already, or the job no longer waits for it
    FOREIGN = "foreign"  # the task, the chat or the job does not belong to the others
    UNKNOWN = "unknown"  # no such job


@dataclass(frozen=True, slots=True)
class Sent:
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
    """A run of a job's delivery: its token, its number, and the runs without an end up to it."""

    token: str
    number: int
    broken: int


@dataclass(frozen=True, slots=True)
class History:
    """The rest of a job's record: how often each kind of task was begun, the job that 'try again' made of it,
    whether it is open, so that its end is still to be shown, and whether all its create calls that were not
    refused have failed."""

    runs: dict[Run, int]
    retried_as: str
    is_open: bool
    have_calls_failed: bool


class Picked(StrEnum):
    STARTED = "submitting"  # its credits are held, its submission may be ordered
    QUEUED = "queued"  # its credits are held, it waits for earlier jobs
    WAITING = "waiting"  # likewise, for a job that pays for the same
    SHARED = "delivering"  # another job has paid for its result
    OVER = "over"  # it would exceed the account's credits of the day; nothing changed
    DEARER = "dearer"  # it would cost more than it may; nothing changed
    LATE = "late"  # picked or cancelled before; nothing changed


class Credits(StrEnum):
    KEEP = "keep"
    SETTLE = "settle"  # they are spent
    RETURN = "return"  # nothing was charged
    CANCEL = "cancel"  # returned, unless the create call has been begun

"""What steps of a job come to, and the records that the job store returns."""

from dataclasses import dataclass
from enum import StrEnum


class Receipt(StrEnum):
    """What storing a task id or a result came to."""

    STORED = "stored"  # the job moved on
    REPEATED = "repeated"  # known already, or the job no longer waits for it
    FOREIGN = "foreign"  # the task, the chat or the job does not belong to the others
    UNKNOWN = "unknown"  # no such job


@dataclass(frozen=True, slots=True)
class Sent:
    """One stem as it arrived in the chat."""

    message_id: int
    file_id: str
    file_unique_id: str
    kind: str = "audio"  # or "document"
    title: str = ""  # under which it was sent


class Run(StrEnum):
    """Runs of tasks that are counted per job."""

    SUBMIT = "submit"
    DELIVER = "deliver"
    BROKEN_DELIVERY = "broken delivery"  # begun and not ended: its process died, or a bug ended it
    ZIP = "zip"  # of one order: counted anew when it is done
    SMALL = "small"  # likewise


@dataclass(frozen=True, slots=True)
class History:
    """What Redis knows of a job beside its attributes: how often each kind of task was begun for it, the job
    that 'try again' made of it, and whether it is open: how it ends is still to be shown."""

    runs: dict[Run, int]
    retried_as: str
    is_open: bool


class Picked(StrEnum):
    """What picking a mode came to."""

    STARTED = "submitting"  # its credits are held, its submission may be ordered
    QUEUED = "queued"  # its credits are held, its turn will come
    OVER = "over"  # it would exceed the account's credits of the day; nothing changed
    LATE = "late"  # picked or cancelled before; nothing changed


class Credits(StrEnum):
    """What a move means for the credits that a job holds."""

    KEEP = "keep"
    SETTLE = "settle"  # they are spent
    RETURN = "return"  # nothing was charged
    CANCEL = "cancel"  # returned, unless the create call has been begun

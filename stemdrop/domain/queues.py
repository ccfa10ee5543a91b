"""The tasks of the engine and their queues."""

from enum import StrEnum


class Task(StrEnum):
    """A task that the engine runs; the value is its name in Redis."""

    SUBMIT = "submit"  # argument: job id
    DELIVER = "deliver"  # argument: job id
    PACK = "pack"  # argument: job id, a colon, and the letter of the button (`callback_data`)
    RENDER = "render"  # argument: a remix's id
    MEASURE = "measure"  # argument: job id
    ALBUM = "album"  # argument: chat, media group and message, between colons
    START = "start"  # argument: job id
    UPDATE = "update"  # argument: an update from Telegram as JSON


class Queue(StrEnum):
    """A queue of tasks; a backlog in one does not delay the others."""

    SUBMISSIONS = "stemdrop:submissions"  # run by every `worker`, with the periodic work
    DELIVERIES = "stemdrop:deliveries"  # run by every `worker`
    PACKS = "stemdrop:packs"  # run by every `worker`: these tasks wait long for Telegram's limits
    RENDERS = "stemdrop:renders"  # run by every `worker`: these tasks need the processor
    UPDATES = "stemdrop:updates"  # run by every `bot`

    @property
    def label(self) -> str:
        """The name for operators."""
        return self.value.removeprefix("stemdrop:")


# The periodic work of the submissions' queue.
PERIODIC = ("recovery", "progress", "credits", "abilities")

QUEUE_OF = {
    Task.SUBMIT: Queue.SUBMISSIONS,
    Task.DELIVER: Queue.DELIVERIES,
    Task.PACK: Queue.PACKS,
    Task.RENDER: Queue.RENDERS,
    Task.MEASURE: Queue.RENDERS,
    Task.ALBUM: Queue.UPDATES,
    Task.START: Queue.UPDATES,
    Task.UPDATE: Queue.UPDATES,
}

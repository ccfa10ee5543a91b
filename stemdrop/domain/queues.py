"""What the engine can be asked to run, and what is taken together; plain names, no I/O."""

from enum import StrEnum


class Task(StrEnum):
    """What the engine can be asked to run; the value is the task's name in Redis."""

    SUBMIT = "submit"  # argument: job id
    DELIVER = "deliver"  # argument: job id
    PACK = "pack"  # argument: job id, a colon, and the letter of the button (`buttons.Action`)
    UPDATE = "update"  # argument: an update from Telegram as JSON


class Queue(StrEnum):
    """What is taken together; one kind's backlog keeps none of the others waiting."""

    SUBMISSIONS = "stemdrop:submissions"  # by every `worker`, with the periodic work
    DELIVERIES = "stemdrop:deliveries"  # by every `worker`
    PACKS = "stemdrop:packs"  # by every `worker`: these wait long for Telegram's limits
    UPDATES = "stemdrop:updates"  # by every `bot`


QUEUE_OF = {
    Task.SUBMIT: Queue.SUBMISSIONS,
    Task.DELIVER: Queue.DELIVERIES,
    Task.PACK: Queue.PACKS,
    Task.UPDATE: Queue.UPDATES,
}

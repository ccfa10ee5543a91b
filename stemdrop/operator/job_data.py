"""What is known of a job for its operator, as plain data: what `stemdrop jobs` shows, and prints as JSON.

Pure functions; no I/O, and no secret: no address of a stem, no `file_id`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from stemdrop.domain.jobs import FINAL, Failure, Job
from stemdrop.domain.outcomes import History, Sent
from stemdrop.storage.dead_letters import DeadLetter

Facts = dict[str, Any]

# What the code of a failure means to who runs the bot; what its user reads is in the catalogues.
MEANINGS = {
    "400": "the separation API cannot read this audio, or refuses a parameter",
    "401": "the separation API refuses SEPARATION_API_KEY",
    "402": "no credits are left at the separation API: add some",
    "404": "the separation API does not know the job; is SEPARATION_API_URL right?",
    "408": "the separation API had no result after a long time",
    "409": "the separation API is busy with this very job",
    "413": "the file is too big for the separation API",
    "422": "the separation API refuses this file or this mode",
    "429": "the separation API had too much to do, three times",
    "451": "the separation API could not download the song; is PUBLIC_URL reachable?",
    "455": "the separation API is being maintained",
    "500": "something broke at the separation API",
    "501": "the separation API could not take the song apart",
    "505": "the separation API has switched this mode off",
    "531": "the separation API failed and gave the credits back",
    "timeout": "no result within JOB_TIMEOUT_S; one that still comes is delivered",
    "lost": "the answer to the create call was lost and no callback came; is PUBLIC_URL reachable?",
    "unreachable": "the separation API could not be reached, or was never asked; the log says why",
    "empty": "the separation API found nothing to take apart",
    "source_gone": "Telegram no longer gives the song",
    "undeliverable": "there are stems, and they could not be sent, or their chat is gone; the log says why",
    "internal": "processes died, again and again, before the separation API was asked; the log says of what",
}


def summary(job: Job, name: str, now: float, *, is_open: bool = True) -> Facts:
    """One job in a list; `name` is what its account is called, where that is known."""
    return {
        "id": job.id,
        "state": job.state.value,
        "age_s": round(max(0.0, now - job.moved_at)),
        "moved_at": _utc(job.moved_at),
        "mode": job.mode and job.mode.value,
        "instrument": job.instrument,
        "account": job.account,
        "name": name,
        "user_id": job.user_id,
        "chat_id": job.chat_id,
        "title": job.source.title,
        "task_id": job.task_id,
        "failure": job.failure and asdict(job.failure),
        "missing": list(job.missing),
        "refused": list(job.refused),
        "is_closed": job.state in FINAL and not is_open,
    }


def letter_facts(letter: DeadLetter, now: float) -> Facts:
    """A task that was given up, in a list."""
    return {
        "id": letter.key,
        "what": letter.what,
        "why": letter.why,
        "age_s": round(max(0.0, now - letter.at)),
        "at": _utc(letter.at),
    }


def whole(
    job: Job, name: str, history: History, sent: Mapping[str, Sent], packed: Mapping[str, Sent], now: float
) -> Facts:
    """Everything of one job but its secrets."""
    times = {
        "created_at": job.created_at,
        "picked_at": job.picked_at,
        "create_started_at": job.create_started_at,
        "polled_at": job.polled_at,
        "moved_at": job.moved_at,
        "shown_at": job.shown_at,
    }
    source = asdict(job.source)
    for handle in ("file_id", "thumbnail_file_id"):
        del source[handle]
    return {
        **summary(job, name, now, is_open=history.is_open),
        **{key: _utc(at) for key, at in times.items()},
        "topic_id": job.topic_id,
        "source_message_id": job.source_message_id,
        "message_id": job.message_id,
        "language": job.language,
        "source": source,
        "result": job.result and {"code": job.result.code, "stems": [stem.key for stem in job.result.stems]},
        "meaning": meaning(job.failure) if job.failure else "",
        "sent": {key: stem.message_id for key, stem in sent.items()},
        "silent": list(job.silent),
        "too_big": [stem for stem, _ in job.links],
        "packed": sorted(packed),
        "is_from_kept": bool(job.cached),
        "runs": {kind.value: count for kind, count in history.runs.items()},
        "price": job.price,
        "charge": job.charge.value,
        "account_day": job.account_day,
        "retried_as": history.retried_as,
    }


def meaning(failure: Failure) -> str:
    """What happened, in the operator's words."""
    return MEANINGS.get(failure.code, "the separation API gave a code that nobody knows")


def _utc(at: float) -> str | None:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else None

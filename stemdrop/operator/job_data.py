"""Jobs and given-up tasks as `stemdrop jobs` shows them, and their JSON.

No I/O. The JSON holds no secret: no address of a stem and no `file_id`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stemdrop.domain.jobs import FINAL, Job
from stemdrop.domain.outcomes import History, Sent
from stemdrop.domain.providers import SELFHOSTED
from stemdrop.operator.call_data import call_facts, utc
from stemdrop.settings.providers import KEY_SETTINGS
from stemdrop.storage.create_calls import CreateCall
from stemdrop.storage.dead_letters import DeadLetter

# What each failure code means for the operator. The users' texts are in the translations. `{key}` and `{url}`
# are the settings of the provider that was asked last.
MEANINGS = {
    "400": "the separation API cannot read this audio, or refuses a parameter",
    "401": "the separation API refuses {key}",
    "402": "the separation API has no credits left: buy more",
    "404": "the separation API does not know the job; is {url} right?",
    "408": "the separation API timed out",
    "409": "the separation API is still busy with this job",
    "413": "the file is too big for the separation API, or matches an existing work",
    "422": "the separation API refuses this file or this mode",
    "429": "the separation API was overloaded three times",
    "451": "the separation API could not download the song; is PUBLIC_URL reachable?",
    "455": "the separation API is under maintenance",
    "500": "the separation API had an internal error",
    "501": "the separation API could not separate the song",
    "505": "the separation API has disabled this mode",
    "531": "the separation API failed and refunded the credits",
    "timeout": "no result within JOB_TIMEOUT_S; a late result is still delivered",
    "lost": "the response to the create call was lost and no callback came; is PUBLIC_URL reachable?",
    "unreachable": "the separation API could not be reached, or was never called; the log says why",
    "empty": "the separation API found nothing to separate",
    "unknown_form": "the form of the result is unknown and in the log; fetching it again is free",
    "over_limit": "its next create call would have exceeded its account's credits of the day",
    "dearer": "the provider whose price was shown refused; the others cost more, so its user was asked",
    "source_gone": "Telegram no longer has the song",
    "undeliverable": "there are stems, but they could not be sent, or the chat is gone; the log says why",
    "no_music": "the chat does not let the bot send music; the stems are sent once it does",
    "no_documents": "the chat does not let the bot send files; the stems are sent once it does",
    "no_voice": "the chat takes no voice messages",
    "no_rights": "the chat does not let the bot write; the stems are sent once it does",
    "topic_closed": "the topic is closed; the stems are sent once it is open",
    "internal": "the processes crashed repeatedly before the separation API was called; the log says why",
}


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job in a list at the time `now`, with its account's name, if known."""

    job: Job
    name: str
    now: float
    is_open: bool

    @property
    def age_s(self) -> int:
        return seconds_since(self.job.moved_at, self.now)

    @property
    def is_closed(self) -> bool:
        return self.job.state in FINAL and not self.is_open

    def to_json(self) -> dict[str, Any]:
        """Return the fields of a list of jobs; times in UTC."""
        job = self.job
        return {
            "id": job.id,
            "state": job.state.value,
            "age_s": self.age_s,
            "moved_at": utc(job.moved_at),
            "mode": job.mode and job.mode.value,
            "instrument": job.instrument,
            "account": job.account,
            "name": self.name,
            "user_id": job.user_id,
            "chat_id": job.chat_id,
            "title": job.source.title,
            "task_id": job.task_id,
            "failure": job.failure and asdict(job.failure),
            "missing": list(job.missing),
            "refused": list(job.refused),
            "is_closed": self.is_closed,
            "provider": job.provider,
        }


@dataclass(frozen=True, slots=True)
class JobDetails(ListedJob):
    """Everything that is known of one job.

    `sent` and `packed` hold the files that arrived in the chat, by key; `calls` are the job's create calls.
    """

    history: History
    sent: Mapping[str, Sent]
    packed: Mapping[str, Sent]
    calls: Sequence[CreateCall]

    def to_json(self) -> dict[str, Any]:
        """Return every field of the job that is no secret; times in UTC."""
        job, history = self.job, self.history
        source = asdict(job.source)
        for handle in ("file_id", "thumbnail_file_id"):
            del source[handle]
        return {
            **ListedJob.to_json(self),
            "created_at": utc(job.created_at),
            "picked_at": utc(job.picked_at),
            "create_started_at": utc(job.create_started_at),
            "polled_at": utc(job.polled_at),
            "shown_at": utc(job.shown_at),
            "topic_id": job.topic_id,
            "source_message_id": job.source_message_id,
            "message_id": job.message_id,
            "language": job.language,
            "source": source,
            "result": job.result
            and {"code": job.result.code, "stems": [stem.key for stem in job.result.stems]},
            "meaning": meaning(job),
            "sent": {key: stem.message_id for key, stem in self.sent.items()},
            "silent": list(job.silent),
            "too_big": [stem for stem, _ in job.links],
            "packed": sorted(self.packed),
            "is_from_kept": bool(job.cached),
            "runs": {kind.value: count for kind, count in history.runs.items()},
            "price": job.price,
            "charge": job.charge.value,
            "account_day": job.account_day,
            "retried_as": history.retried_as,
            "calls": [call_facts(call) for call in self.calls],
        }


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A given-up task in a list at the time `now`."""

    letter: DeadLetter
    now: float

    @property
    def age_s(self) -> int:
        return seconds_since(self.letter.at, self.now)

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the task; times in UTC."""
        letter = self.letter
        return {
            "id": letter.key,
            "what": letter.what,
            "why": letter.why,
            "age_s": self.age_s,
            "at": utc(letter.at),
        }


def meaning(job: Job) -> str:
    """Return what the job's failure means for the operator; empty if the job has not failed."""
    if job.failure is None:
        return ""
    text = MEANINGS.get(job.failure.code, "the separation API returned an unknown code")
    key = KEY_SETTINGS.get(job.provider, "separation_api_key").upper()
    if job.provider == SELFHOSTED:  # either setting may hold its key
        key = f"SEPARATION_API_KEY or {key}"
    return text.format(key=key, url=key.replace("_KEY", "_URL"))


def seconds_since(at: float, now: float) -> int:
    """Return the whole seconds since `at`; 0 if that is in the future, by another machine's clock."""
    return round(max(0.0, now - at))

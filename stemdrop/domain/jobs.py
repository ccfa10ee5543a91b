"""A job: one song, one mode, one result. Plain data and its states; no I/O."""

import secrets
from dataclasses import dataclass, field
from enum import StrEnum

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.results import Result
from stemdrop.domain.song_facts import SongFacts


class Mode(StrEnum):
    """How a song is split; the values are the separation API's."""

    SEPARATE_VOCAL = "separate_vocal"  # vocals and instrumental
    SPLIT_STEM = "split_stem"  # up to twelve instruments
    SPLIT_STEM_ADVANCED = "split_stem_advanced"  # one named instrument and the rest


Choice = tuple[Mode, str]  # a mode, and the instrument where the mode needs one

# Credits that the provider charges for one accepted call (its pricing page).
CREDITS = {Mode.SEPARATE_VOCAL: 10, Mode.SPLIT_STEM: 50, Mode.SPLIT_STEM_ADVANCED: 20}

# The `stemName` values that are offered; the provider has about a hundred. Buttons hold their positions, so
# new ones come last. Buttons are sorted by how often each was picked, and at first in this order.
INSTRUMENTS = (
    "Lead Vocal",
    "Backing Vocals",
    "Drum Kit",
    "Bass",
    "Piano",
    "Electric Guitar",
    "Acoustic Guitar",
    "Synth",
    "String Section",
    "Brass Section",
    "Organ",
    "Kick",
    "Snare",
)


class JobState(StrEnum):
    """The state of a job. Each open state has an owner that moves the job on; recovery acts if it died."""

    CHOOSING = "choosing"  # the song was seen, a mode is awaited; owner: the user
    QUEUED = "queued"  # picked, waits for earlier jobs of its account or for `waits_for`; owner: those jobs
    SUBMITTING = "submitting"  # the API is being asked; owner: the submission task
    SEPARATING = "separating"  # the task id is known; owner: the callback, later recovery
    DELIVERING = "delivering"  # the result is stored; owner: the delivery task
    DELIVERED = "delivered"  # every stem that could be sent was sent
    FAILED = "failed"  # explained to the user
    CANCELLED = "cancelled"  # the user no longer wants it


FINAL = frozenset({JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED})
# A provider that accepted an order fetches its source within this time after the create call began.
ASK_AGAIN_AFTER_S = 120
CANCELLABLE = frozenset({JobState.CHOOSING, JobState.QUEUED, JobState.SUBMITTING, JobState.SEPARATING})


class Charge(StrEnum):
    """The state of a job's credits in its account, on the day on which it was picked."""

    NONE = ""  # nothing was held: not picked, or free
    HELD = "held"
    SETTLED = "settled"  # the provider has charged them, or may have
    RETURNED = "returned"


class SourceKind(StrEnum):
    AUDIO = "audio"
    VOICE = "voice"
    VIDEO = "video"
    VIDEO_NOTE = "video_note"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class Source:
    """The user's audio, as described by Telegram. An unknown `duration_s` or `size_bytes` is 0."""

    kind: SourceKind
    file_id: str
    file_unique_id: str
    extension: str  # with the dot: ".mp3"
    size_bytes: int = 0
    duration_s: int = 0
    title: str = ""
    performer: str = ""
    thumbnail_file_id: str = ""

    def split_id(self, mode: Mode, instrument: str, file_format: str = "") -> str:
        """Return the id of the split of this audio in this way, which is the same for all users."""
        kind = f":{file_format}" if file_format in _LOSSLESS else ""
        return f"{self.file_unique_id}:{mode}:{instrument}{kind}"


class Obstacle(StrEnum):
    """Why a chat does not take stems now; the code of a failure whose stems can be sent later."""

    NO_MUSIC = "no_music"
    NO_DOCUMENTS = "no_documents"
    NO_VOICE = "no_voice"
    NO_RIGHTS = "no_rights"  # the bot may not write there
    TOPIC_CLOSED = "topic_closed"


# The codes of failures after which the stems can still be sent.
UNDELIVERED = frozenset({"undeliverable", *Obstacle})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed: a code of the provider or of ours, and whether it was charged (`None`: unknown)."""

    code: str
    charged: bool | None = False


@dataclass(frozen=True, slots=True)
class CachedStem:
    """A stem that Telegram stores and sends again by `file_id`; `kind` is "audio" or "document"."""

    key: str
    kind: str
    file_id: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One song and its split. Times are Unix seconds; 0 means 'not yet'.

    `message_id` is the bot's message for this job (buttons, then progress, then outcome), and `stems_above`
    the number of its stems above that message; `replaced_message_id` is an earlier message, to be deleted.
    `topic_id` is set only in a topic of a forum; `user_id` is 0 when every member of the chat may choose.
    `account` pays: the user, or else the chat. `price` is in credits, charged to `account_day` (UTC, ISO).
    """

    id: str
    chat_id: int
    user_id: int
    source_message_id: int
    source: Source
    language: str = "en"
    topic_id: int = 0
    message_id: int = 0
    stems_above: int = 0
    replaced_message_id: int = 0
    ordered_by: str = ""  # the tap that made the job, if one did
    cancelled_by: str = ""  # the update or tap that cancelled it, if that was for several songs
    state: JobState = JobState.CHOOSING
    created_at: float = 0
    moved_at: float = 0
    account: int = 0
    account_day: str = ""
    price: int = 0
    charge: Charge = Charge.NONE
    mode: Mode | None = None
    instrument: str = ""
    file_format: str = ""  # the format of stems that the user wants; empty: the provider offers no choice
    picked_at: float = 0
    starts_at: float = 0  # when it was set to start by itself in `mode`, which also names that wish; 0: not
    split_id: str = ""  # jobs with the same one share one create call
    waits_for: str = ""  # the job that pays for the same split
    paid_by: str = ""  # the job that has paid for this one's result
    shown_at: float = 0  # when its message was last written
    shown_as: str = ""  # a digest of what was written
    provider: str = ""  # the provider of its create call; empty: not asked yet, or an old job
    tried: str = ""  # the providers that refused it or failed without a charge, separated by commas
    refusal: str = ""  # the code of that refusal or failure, shown if there is no other provider
    agreed_price: int | None = None  # the highest price of a call that its user agreed to; `None`: `price`
    is_unlimited: bool = False  # its account pays nothing for calls
    progress: int = 0  # in percent, as the provider tells it; it never falls
    create_started_at: float = 0
    create_started_by: str = ""  # the name of the create call that began then
    answer_lost_at: float = 0  # when the answer to that call was found to be lost
    source_fetched_at: float = 0  # when the provider fetched the source from us after that call
    asked_again_by: str = ""  # the tap that ordered another create call: two calls may have been accepted
    is_asking_again: bool = False  # that other call is still to be made
    is_other_charged: bool = False  # another create call than the awaited one has failed and was charged
    polled_at: float = 0
    found_empty_at: float = 0  # when the detail endpoint also had no stems for a success
    task_id: str = ""
    result: Result | None = None
    failure: Failure | None = None
    missing: tuple[str, ...] = field(default=())  # names of stems that could not be fetched
    refused: tuple[str, ...] = field(default=())  # names of stems that Telegram does not take
    links: tuple[tuple[str, str], ...] = field(default=())  # (name, URL) of stems too big to send
    silent: tuple[str, ...] = field(default=())  # names of stems with nothing to hear, not sent
    cached: tuple[CachedStem, ...] = field(default=())  # delivered instead of splitting the song again
    facts: SongFacts | None = None  # `None`: not measured, or nothing is certain
    is_timed: bool = False  # its duration is in the statistics, or would falsify them
    is_cache_lost: bool = False  # Telegram no longer had the cached stems: the user is asked before paying

    @property
    def tried_providers(self) -> tuple[str, ...]:
        return tuple(name for name in self.tried.split(",") if name)

    def may_cost(self, price: int) -> bool:
        """Whether the user has agreed to a call of this price."""
        return price <= (self.price if self.agreed_price is None else self.agreed_price)

    @property
    def asked_before(self) -> tuple[str, ...]:
        """Return the providers that are asked for the song again only if there is no other one."""
        if self.state is JobState.DELIVERED:
            return ()  # a new order after a success may go to any provider
        has_failed = self.state is JobState.FAILED or bool(self.answer_lost_at) or self.is_asking_again
        return (*self.tried_providers, *([self.provider] if has_failed and self.provider else []))

    @property
    def is_lossless(self) -> bool:
        """Whether the user wants lossless files."""
        return self.file_format in _LOSSLESS

    def can_ask_again(self, now: float) -> bool:
        """Whether the user may order another create call, since this one was most likely not accepted."""
        return bool(
            self.state is JobState.SUBMITTING
            and self.answer_lost_at
            and not self.source_fetched_at
            and now - self.create_started_at >= ASK_AGAIN_AFTER_S
        )

    @property
    def is_out_of_time(self) -> bool:
        """Whether the job ran out of time while its task may still run: a late result is already paid for."""
        return (
            self.state is JobState.FAILED
            and self.failure is not None
            and self.failure.code == "timeout"
            and self.result is None
            and bool(self.task_id)
        )

    @property
    def is_undelivered(self) -> bool:
        """Whether the job failed but has stems, or may have: these are fetched again, not bought again."""
        if self.state is not JobState.FAILED or not (self.failure and self.result):
            return False
        return self.failure.code == "unknown_form" or (
            self.failure.code in UNDELIVERED and bool(self.result.stems)
        )

    @property
    def needs_source(self) -> bool:
        """Whether the provider may still have to fetch the source, so that the source link must work."""
        is_awaited = self.is_paid_and_cancelled and self.result is None
        # the link of a deleted job serves the song of the job that waits for its result
        return is_awaited or bool(self.waits_for) or self.state in (JobState.SUBMITTING, JobState.SEPARATING)

    @property
    def is_paid_and_cancelled(self) -> bool:
        """Whether the job was cancelled after its create call began: going on costs nothing more."""
        return self.state is JobState.CANCELLED and self.create_started_at > 0

    @property
    def is_incomplete(self) -> bool:
        """Whether some stems could not be fetched or were refused by Telegram."""
        return self.state is JobState.DELIVERED and bool(self.missing or self.refused)

    def again(self) -> "Job":
        """Return a new job for the same song, which goes to other providers than `asked_before` if it can."""
        return Job(
            id=Job.new_id(),
            chat_id=self.chat_id,
            user_id=self.user_id,
            source_message_id=self.source_message_id,
            source=self.source,
            language=self.language,
            topic_id=self.topic_id,
            account=self.account,
            tried=",".join(self.asked_before),
        )

    @staticmethod
    def new_id() -> str:
        """Return 16 random hexadecimal digits: short enough for a button and a link, and not guessable."""
        return secrets.token_hex(8)


_LOSSLESS = frozenset({AudioFormat.FLAC, AudioFormat.WAV})


def is_overtaken(job: Job) -> bool:
    """Whether stems arrived while the failure was being stored: the failure no longer holds."""
    return bool(
        job.state is JobState.FAILED
        and job.result
        and job.result.stems
        and job.failure
        and job.failure.code not in UNDELIVERED
    )

"""Every exception of stemdrop. Two errors that are handled alike share a class::

StemdropError
├── SettingsError        the operator must correct a setting
├── StoreUnavailable     Redis did not answer: try again soon
│   └── StoreRefused     Redis refused: the same command would be refused again
│       └── StoreClosed  Redis refuses writes for now: try again later
├── NoSuchJob            the operator named no job, or more than one
├── TryLater             a task cannot go on now: the engine runs it again
├── ForgedRequest        a link, signature or secret is not ours: 403
│   └── ExpiredLink      the link was valid once: 403
├── TooOften             more requests than are allowed: 429
├── BadContract          a body is not what the separation API documents: 422
├── SeparationError      the separation API did not do what it was asked
│   ├── Refused          it refused: nothing was accepted
│   ├── Unreachable      nothing was sent: asking again is safe
│   └── AnswerLost       it may have accepted and charged: never ask again blindly
│       └── TaskNotTold  it has accepted, and will not tell the task
├── SourceUnusable       the user must send something else
├── SourceGone           Telegram no longer has the file
│   └── SourceTooBig     it does not give a file of this size to a bot
├── SourceUnavailable    Telegram has the file and does not return it now: try again soon
├── CachedFileGone       Telegram no longer has a cached stem: ask before paying again
└── FetchFailed          a stem could not be downloaded
    ├── AddressRefused   its address is not allowed
    ├── StemGone         there is no stem (any more): ask for a fresh URL
    └── StemTooBig       it is larger than Telegram accepts
"""

# A provider that is overloaded for longer leaves a job to the next one.
LONGEST_BUSY_S = 60.0


class StemdropError(Exception):
    """Base class. The text is meant for the operator's log and holds no secret."""


class SettingsError(StemdropError):
    """Settings are missing or wrong; the text has one line for each."""


class StoreUnavailable(StemdropError):
    """Redis did not answer, or refused to store."""


class StoreRefused(StoreUnavailable):
    """Redis answered with an error; the same command would fail again."""


class StoreClosed(StoreRefused):
    """Redis takes no writes for now: it is full, a replica, or cannot save."""


class NoSuchJob(StemdropError):
    """The operator's argument is not the id of a job, or the beginning of several ids."""


class TryLater(StemdropError):
    """A task cannot go on now and is to be run again after `after_s` seconds."""

    def __init__(self, after_s: float, why: str) -> None:
        super().__init__(why)
        self.after_s = after_s


class ForgedRequest(StemdropError):
    """A token, signature or secret does not belong to this server or this job."""


class ExpiredLink(ForgedRequest):
    """This server signed the token too long ago, or it has been used as often as allowed."""


class TooOften(StemdropError):
    """The client made more requests than are allowed; the next is allowed after `after_s` seconds."""

    def __init__(self, after_s: float, why: str) -> None:
        super().__init__(why)
        self.after_s = after_s


class BadContract(StemdropError):
    """A body is not what the separation API documents."""


class SeparationError(StemdropError):
    """The separation API did not do what it was asked."""


class Refused(SeparationError):
    """The API refused: it accepted and charged nothing.

    `retry_after_s` is the time after which it says that it will accept; `None` if it does not say.
    """

    def __init__(self, code: int, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"the separation API refused with code {code}: {message[:200]}")
        self.code = code
        self.retry_after_s = retry_after_s

    @property
    def is_soon_over(self) -> bool:
        """Whether the provider says that it will accept, and soon."""
        return self.retry_after_s is not None and self.retry_after_s <= LONGEST_BUSY_S


class Unreachable(SeparationError):
    """No connection was made, so nothing was sent: asking again is safe."""


class AnswerLost(SeparationError):
    """The request was sent and no usable answer came: it may have been accepted and charged."""


class TaskNotTold(AnswerLost):
    """The provider has accepted the order before and does not tell its task: asking again is useless."""


class SourceUnusable(StemdropError):
    """The user's file cannot be split; `reason` names the sentence that says why."""

    def __init__(self, reason: str, **values: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.values = values


class SourceGone(StemdropError):
    """Telegram does not return the file (any more)."""


class SourceTooBig(SourceGone):
    """Telegram does not return a file of this size to a bot (20 MB)."""


class SourceUnavailable(StemdropError):
    """Telegram says that the file is temporarily unavailable, also after some seconds."""


class DeliveryOverridden(StemdropError):
    """Another run delivers the job now, or the job is no longer to be delivered."""


class CachedFileGone(StemdropError):
    """Telegram does not send a cached stem by its `file_id` (any more)."""


class FetchFailed(StemdropError):
    """A stem could not be downloaded; trying again later may help."""


class AddressRefused(FetchFailed):
    """The URL leads to an address that is neither public nor allowed, or is not HTTPS."""


class StemGone(FetchFailed):
    """The file does not exist, is no longer accessible, or is not audio."""


class StemTooBig(FetchFailed):
    """The file is larger than Telegram accepts from a bot."""

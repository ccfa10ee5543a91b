"""The exceptions of stemdrop. Errors that are handled alike share a class::

StemdropError
├── SettingsError        the operator must correct a setting
├── StoreUnavailable     Redis did not answer: try again soon
│   └── StoreRefused     Redis refused: the same command would be refused again
│       └── StoreClosed  Redis refuses writes for now: try again later
├── NoSuchJob            the operator named no job, or more than one
├── TryLater             a task cannot go on now: the engine runs it again
├── OverLimit            a call would cost more than its account may still spend that day
├── ForgedRequest        a link, signature or secret is not ours: 403
│   └── ExpiredLink      the link was valid once: 403
├── TooOften             more requests than are allowed: 429
├── BadContract          a body from outside does not have the documented form: 422
├── SeparationError      the separation API did not do what it was asked
│   ├── Refused          the API refused: nothing was accepted
│   ├── Unreachable      nothing was sent: asking again is safe
│   └── AnswerLost       the API may have accepted and charged: never ask again blindly
│       └── TaskNotTold  the API has accepted, and does not name the task
├── SourceUnusable       the user must send something else
├── SourceGone           Telegram no longer has the file
│   └── SourceTooBig     Telegram does not give a bot a file of this size
├── SourceUnavailable    Telegram has the file and does not return it now: try again soon
├── DeliveryOverridden   another run delivers the job, or nothing is to be delivered any more
├── CachedFileGone       Telegram no longer has a cached stem: ask before paying again
└── FetchFailed          a stem could not be downloaded
    ├── AddressRefused   the stem's address is not allowed
    ├── StemGone         there is no stem (any more): ask for a fresh URL
    └── StemTooBig       the stem is larger than Telegram accepts
"""

# A job does not wait for an overloaded provider that asks for a longer pause, if there is another provider.
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


class OverLimit(StemdropError):
    """The create call would cost more than its account may still spend that day: it is not made."""


class ForgedRequest(StemdropError):
    """A token, signature or secret does not belong to this server or this job."""


class ExpiredLink(ForgedRequest):
    """The token is from this server, but it is too old or has been used as often as allowed."""


class TooOften(StemdropError):
    """The client made more requests than are allowed; the next is allowed after `after_s` seconds."""

    def __init__(self, after_s: float, why: str) -> None:
        super().__init__(why)
        self.after_s = after_s


class BadContract(StemdropError):
    """A body from outside, of the separation API or the mixer's page, does not have the documented form."""


class SeparationError(StemdropError):
    """The separation API did not do what it was asked."""


class Refused(SeparationError):
    """The API refused: it accepted and charged nothing.

    `code` is the code that stemdrop handles. `retry_after_s` is the pause that the API asks for, or `None`.
    """

    def __init__(self, code: int, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"the separation API refused with code {code}: {message[:200]}")
        self.code = code
        self.retry_after_s = retry_after_s

    @property
    def is_soon_over(self) -> bool:
        """Whether the provider asks for a pause of at most `LONGEST_BUSY_S`."""
        return self.retry_after_s is not None and self.retry_after_s <= LONGEST_BUSY_S


class Unreachable(SeparationError):
    """No connection was made, so nothing was sent: asking again is safe."""


class AnswerLost(SeparationError):
    """The request was sent and no usable answer came: it may have been accepted and charged."""


class TaskNotTold(AnswerLost):
    """The provider accepted the order earlier and does not name its task: asking again is useless."""


class SourceUnusable(StemdropError):
    """The user's file cannot be split; the text `unusable.<reason>` explains it, with `values` filled in."""

    def __init__(self, reason: str, **values: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.values = values


class SourceGone(StemdropError):
    """Telegram does not return the file (any more)."""


class SourceTooBig(SourceGone):
    """Telegram does not return a file of this size to a bot (20 MB)."""


class SourceUnavailable(StemdropError):
    """The file is unavailable now at Telegram, even after retries for some seconds, or on the shared disk."""


class DeliveryOverridden(StemdropError):
    """Another run delivers the job or remix now, or it is no longer to be delivered."""


class CachedFileGone(StemdropError):
    """Telegram does not send a cached stem by its `file_id` (any more)."""


class FetchFailed(StemdropError):
    """A stem could not be downloaded; trying again later may help."""


class AddressRefused(FetchFailed):
    """The URL is not HTTPS, or leads to an address that is neither public nor allowed."""


class StemGone(FetchFailed):
    """The file does not exist, is no longer accessible, or is not audio."""


class StemTooBig(FetchFailed):
    """The file is larger than Telegram accepts from a bot."""

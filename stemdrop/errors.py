"""Every exception of stemdrop.

A class exists where somebody handles it differently::

    StemdropError
    ├── SettingsError        the operator must correct a setting
    ├── StoreUnavailable     Redis did not answer: try again soon
    │   └── StoreRefused     it said no: the same again would be refused again
    │       └── StoreClosed  but this it would take at another time
    ├── NoSuchJob            the operator named no job, or more than one
    ├── TryLater             a task cannot go on now: the engine runs it again
    ├── ForgedRequest        a link, signature or secret is not ours: 403
    │   └── ExpiredLink      it was ours once: 403
    ├── TooOften             somebody asks more often than is allowed: 429
    ├── BadContract          the provider's words are not the contract: 422
    ├── SeparationError      the separation API did not do what it was asked
    │   ├── Refused          it said no; nothing was accepted
    │   ├── Unreachable      nothing was sent; sending again is safe
    │   └── AnswerLost       it may have accepted and charged; never send again blindly
    ├── SourceUnusable       the user must send something else
    ├── SourceGone           Telegram no longer has the file
    ├── KeptGone             Telegram no longer has a stem that it kept: ask before paying again
    └── FetchFailed          a stem could not be fetched
        ├── AddressRefused   its address may not be asked
        ├── StemGone         no stem is there (any more): ask for a fresh URL
        └── StemTooBig       more than Telegram takes
"""


class StemdropError(Exception):
    """Base of all; its text is fit for an operator's log and holds no secret."""


class SettingsError(StemdropError):
    """A setting is missing or wrong; the text names it in one line."""


class StoreUnavailable(StemdropError):
    """Redis did not answer, or refused to store."""


class StoreRefused(StoreUnavailable):
    """Redis answered, and said no: the same again would be refused again."""


class StoreClosed(StoreRefused):
    """Redis takes no writes for now: it is full, a replica, or cannot save."""


class NoSuchJob(StemdropError):
    """What the operator wrote is no job's id, or the beginning of several."""


class TryLater(StemdropError):
    """A task cannot go on now and wants to be run again after `after_s` seconds."""

    def __init__(self, after_s: float, why: str) -> None:
        super().__init__(why)
        self.after_s = after_s


class ForgedRequest(StemdropError):
    """A token, signature or secret does not belong to this server or this job."""


class ExpiredLink(ForgedRequest):
    """The token was signed by this server, too long ago, or has been used as often as it may be."""


class TooOften(StemdropError):
    """Somebody asks more often than is allowed, and may ask again after `after_s` seconds."""

    def __init__(self, after_s: float, why: str) -> None:
        super().__init__(why)
        self.after_s = after_s


class BadContract(StemdropError):
    """A body that is not what the separation API documents."""


class SeparationError(StemdropError):
    """The separation API did not do what it was asked."""


class Refused(SeparationError):
    """The API answered with a code other than 200; it accepted and charged nothing."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"the separation API refused with code {code}: {message[:200]}")
        self.code = code


class Unreachable(SeparationError):
    """No connection was made, so nothing was asked: asking again is safe."""


class AnswerLost(SeparationError):
    """The request went out and no usable answer came: it may have been accepted and charged."""


class SourceUnusable(StemdropError):
    """The user's file cannot be split; `reason` names the sentence that says why."""

    def __init__(self, reason: str, **values: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.values = values


class SourceGone(StemdropError):
    """Telegram does not give the file (any more)."""


class CachedFileGone(StemdropError):
    """Telegram does not send a stem by the `file_id` under which it kept it (any more)."""


class FetchFailed(StemdropError):
    """A stem could not be fetched; trying again later may help."""


class AddressRefused(FetchFailed):
    """The URL leads to an address that is not public and not allowed, or is not HTTPS."""


class StemGone(FetchFailed):
    """The file is not there or no longer allowed, or what comes is no sound."""


class StemTooBig(FetchFailed):
    """The file is larger than Telegram takes from a bot."""

"""`Recipe`: what a remix does to the stems of a song. Plain data; no I/O."""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self

# Gains in dB; a stem with the first one is not heard.
OFF_DB = -96
QUIET_DB = -12
LOUDEST_DB = 6
# The limits of the speed, in percent of the song's, and of the key change, in semitones.
SLOWEST, FASTEST = 50, 125
LOWEST, HIGHEST = -6, 6
# No split has more stems.
_MAX_STEMS = 64
_MAX_KEY = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done to the stems of a song.

    `gains` holds sorted pairs of a stem's key and its gain in dB (`OFF_DB`: not heard), for the stems that
    are not played as they are. `speed` is in percent of the song's, with its pitch kept, and `semitones` is
    added to its pitch. A count-in is two bars of clicks before the song, the metronome clicks on its beats:
    both need a known tempo. Raises `ValueError` for values that no remix can have.
    """

    gains: tuple[tuple[str, int], ...] = ()
    speed: int = 100
    semitones: int = 0
    has_count_in: bool = False
    has_metronome: bool = False

    def __post_init__(self) -> None:
        keys = [key for key, _ in self.gains]
        if not (SLOWEST <= self.speed <= FASTEST and LOWEST <= self.semitones <= HIGHEST):
            raise ValueError("a speed or a key that no remix has")
        if any(not OFF_DB <= gain <= LOUDEST_DB or gain == 0 for _, gain in self.gains):
            raise ValueError("a gain that no remix has")
        if keys != sorted(set(keys)) or len(keys) > _MAX_STEMS or any(len(key) > _MAX_KEY for key in keys):
            raise ValueError("stems that no song has")

    def gain(self, key: str) -> int:
        """Return the gain of a stem in dB."""
        return dict(self.gains).get(key, 0)

    def with_gain(self, key: str, gain: int) -> Self:
        return self.with_gains({**dict(self.gains), key: gain})

    def with_gains(self, gains: dict[str, int]) -> Self:
        return replace(self, gains=tuple(sorted((key, gain) for key, gain in gains.items() if gain)))

    def heard(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Return the keys of the stems that are heard."""
        return tuple(key for key in keys if self.gain(key) > OFF_DB)

    @property
    def without_clicks(self) -> Self:
        """The recipe for a song of unknown tempo."""
        return replace(self, has_count_in=False, has_metronome=False)

    @property
    def is_plain(self) -> bool:
        """Whether it changes nothing."""
        return self == type(self)()

    @property
    def digest(self) -> str:
        """16 hexadecimal digits, which are equal for equal recipes."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The reverse of `dataclasses.asdict`, also for untrusted values. Raises `ValueError`."""
        try:
            recipe = cls(
                **{**value, "gains": tuple((str(key), _whole(gain)) for key, gain in value["gains"])}
            )
            _whole(recipe.speed), _whole(recipe.semitones)
        except (TypeError, KeyError) as error:
            raise ValueError("not a recipe") from error
        if not all(isinstance(flag, bool) for flag in (recipe.has_count_in, recipe.has_metronome)):
            raise ValueError("not a recipe")
        return recipe


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


def only(keys: Collection[str], heard: Collection[str]) -> Recipe:
    """Return the recipe that plays only some of a song's stems."""
    return Recipe().with_gains({key: 0 if key in heard else OFF_DB for key in keys})


class RemixState(StrEnum):
    WAITING = "waiting"
    RENDERING = "rendering"
    SENDING = "sending"  # too late to cancel it
    SENT = "sent"
    CANCELLED = "cancelled"
    FAILED = "failed"


CANCELLABLE_REMIXES = (RemixState.WAITING, RemixState.RENDERING)
OPEN_REMIXES = (*CANCELLABLE_REMIXES, RemixState.SENDING)


@dataclass(frozen=True, slots=True)
class Remix:
    """A user's order to render stems of a delivered job by one recipe, or by several for a practice pack.

    `id` names the order, so that a tap that is handled twice orders once. `message_id` is the message that
    shows its progress, in the chat `chat_id`: a group that became a supergroup has another id. Times are Unix
    seconds.
    """

    id: str
    job_id: str
    user_id: int
    recipes: tuple[Recipe, ...]
    is_archive: bool = False  # one ZIP in place of single files
    language: str = "en"
    created_at: float = 0
    state: RemixState = RemixState.WAITING
    message_id: int = 0
    chat_id: int = 0

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that identify the ZIP of these recipes."""
        text = " ".join(recipe.digest for recipe in self.recipes)
        return hashlib.sha256(f"zip {text}".encode()).hexdigest()[:16]

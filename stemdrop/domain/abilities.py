"""`Abilities`: what one provider, or several in order of preference, can do at what price. Plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import Any, Self

from stemdrop.domain.jobs import CREDITS, INSTRUMENTS, Mode

# The length in seconds by which a song of unknown length is priced.
UNKNOWN_LENGTH_S = 300


@dataclass(frozen=True, slots=True)
class Ability:
    """One mode: its price in credits, the keys of its stems (none: not known), and its instruments.

    A call costs `price` and, for each minute of the song, `per_minute`. `prices` holds the prices of
    instruments that are isolated by another provider (`merged`).
    """

    price: int = 0
    stems: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    per_minute: float = 0
    prices: Mapping[str, int] = field(default_factory=dict)

    def for_song(self, duration_s: float) -> "Ability":
        """Return the ability with the price of one song of this length in seconds (0: not known)."""
        if not self.per_minute:
            return self
        seconds = duration_s or UNKNOWN_LENGTH_S
        # a rounding error must not turn a whole number into the next one
        return replace(self, price=self.price + ceil(self.per_minute * seconds / 60 - 1e-9), per_minute=0)


@dataclass(frozen=True, slots=True)
class Abilities:
    """The modes that a provider has; a mode that is absent cannot be ordered.

    `engine` is the engine of our own separator, and `better_engine` the one that it would use if its model
    were installed. `formats` are the file formats that can be asked for, the default first. All three are
    empty for other providers.
    """

    modes: Mapping[Mode, Ability]
    engine: str = ""
    better_engine: str = ""
    formats: tuple[str, ...] = ()

    def can(self, mode: Mode, instrument: str = "") -> bool:
        """Whether the mode can be ordered for this instrument, or for any one if `instrument` is empty."""
        ability = self.modes.get(mode)
        if ability is None or mode is not Mode.SPLIT_STEM_ADVANCED:
            return ability is not None
        return instrument in ability.instruments if instrument else bool(ability.instruments)

    def price(self, mode: Mode, instrument: str = "") -> int:
        """Return the credits of one accepted call; 0 for a mode that cannot be ordered."""
        if (ability := self.modes.get(mode)) is None:
            return 0
        return ability.prices.get(instrument, ability.price)

    def for_song(self, duration_s: float) -> "Abilities":
        """Return the abilities with the prices of one song of this length in seconds (0: not known)."""
        return replace(self, modes={mode: it.for_song(duration_s) for mode, it in self.modes.items()})

    def stems(self, mode: Mode) -> tuple[str, ...]:
        return self.modes[mode].stems if mode in self.modes else ()

    def file_format(self, wanted: str) -> str:
        """Return the format to ask for: the wanted one or the default; empty where there is no choice."""
        return wanted if wanted in self.formats else next(iter(self.formats), "")

    @property
    def is_free(self) -> bool:
        """Whether nothing costs credits: then no price is shown."""
        return not any(it.price or it.per_minute or any(it.prices.values()) for it in self.modes.values())

    @property
    def engine_advice(self) -> str:
        """Return the command that gets our own separator a better engine; empty where it has the best."""
        return f"stemdrop fetch-model {self.better_engine}" if self.better_engine else ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`."""
        modes = {
            Mode(mode): Ability(
                it["price"], tuple(it["stems"]), tuple(it["instruments"]), it.get("per_minute", 0)
            )
            for mode, it in value["modes"].items()
        }
        formats = tuple(value.get("formats", ()))
        return cls(modes, value.get("engine", ""), value.get("better_engine", ""), formats)


# Every mode and instrument at the prices of the paid hosts; the default for a host of unknown abilities.
ALL = Abilities(
    {
        mode: Ability(price, instruments=INSTRUMENTS if mode is Mode.SPLIT_STEM_ADVANCED else ())
        for mode, price in CREDITS.items()
    }
)


def merged(offers: Sequence[Abilities]) -> Abilities:
    """Return what several providers can do together; each choice is that of the first provider that has it.

    The prices in `offers` must be those of one song (`for_song`).
    """
    modes: dict[Mode, Ability] = {}
    for abilities in offers:
        for mode, ability in abilities.modes.items():
            first = modes.get(mode)
            modes[mode] = _with_instruments_of(first, ability) if first else ability
    own = next((it for it in offers if it.engine), NOTHING)
    # a format is only promised for the first provider: another one may take over without asking the user
    formats = offers[0].formats if offers else ()
    return Abilities(modes, own.engine, own.better_engine, formats)


def _with_instruments_of(first: Ability, other: Ability) -> Ability:
    added = [name for name in other.instruments if name not in first.instruments]
    if not added:
        return first
    prices = {**first.prices, **{name: other.prices.get(name, other.price) for name in added}}
    # in the order of the buttons
    instruments = tuple(name for name in INSTRUMENTS if name in (*first.instruments, *added))
    return replace(first, instruments=instruments, prices=prices)


NOTHING = Abilities({})

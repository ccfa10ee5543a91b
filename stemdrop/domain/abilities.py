"""`Abilities`: what a provider can do, and what it costs there. Plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from stemdrop.domain.jobs import CREDITS, INSTRUMENTS, Mode


@dataclass(frozen=True, slots=True)
class Ability:
    """One mode: its price in credits, the keys of its stems (none: not known), and its instruments."""

    price: int = 0
    stems: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Abilities:
    """The modes that a provider has; a mode that is absent cannot be ordered.

    `engine` is what our own separator separates with, `better_engine` the one that it would take if it had
    its model. `formats` are the file formats that can be asked for, the default first. All are empty for
    other providers.
    """

    modes: Mapping[Mode, Ability]
    engine: str = ""
    better_engine: str = ""
    formats: tuple[str, ...] = ()

    def can(self, mode: Mode, instrument: str = "") -> bool:
        """Whether the mode can be ordered; without an instrument, whether for any."""
        ability = self.modes.get(mode)
        if ability is None or mode is not Mode.SPLIT_STEM_ADVANCED:
            return ability is not None
        return instrument in ability.instruments if instrument else bool(ability.instruments)

    def price(self, mode: Mode) -> int:
        """Return the credits of one accepted call; 0 for a mode that cannot be ordered."""
        return self.modes[mode].price if mode in self.modes else 0

    def stems(self, mode: Mode) -> tuple[str, ...]:
        return self.modes[mode].stems if mode in self.modes else ()

    def file_format(self, wanted: str) -> str:
        """Return the format to ask for: the wanted one or the default; empty where there is no choice."""
        return wanted if wanted in self.formats else next(iter(self.formats), "")

    @property
    def is_free(self) -> bool:
        """Whether nothing costs credits: then no price is shown."""
        return not any(ability.price for ability in self.modes.values())

    @property
    def engine_advice(self) -> str:
        """Return the command that gets our own separator a better engine; empty where it has the best."""
        return f"stemdrop fetch-model {self.better_engine}" if self.better_engine else ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`; reads also the form of version 0.1, which had only the modes."""
        modes = {
            Mode(mode): Ability(it["price"], tuple(it["stems"]), tuple(it["instruments"]))
            for mode, it in value.get("modes", value).items()
        }
        formats = tuple(value.get("formats", ()))
        return cls(modes, value.get("engine", ""), value.get("better_engine", ""), formats)


# Every mode and instrument at the prices of the paid hosts; also for a host of which nothing is known.
ALL = Abilities(
    {
        mode: Ability(price, instruments=INSTRUMENTS if mode is Mode.SPLIT_STEM_ADVANCED else ())
        for mode, price in CREDITS.items()
    }
)

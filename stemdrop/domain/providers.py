"""What is known of a separation provider before it is asked. Plain data."""

from dataclasses import dataclass, replace

from stemdrop.domain.abilities import Abilities
from stemdrop.domain.jobs import Mode

# The names in metrics and records of calls; in `PROVIDERS`, `sunoapi` means either host of its contract.
SUNOAPI, KIE, STEMSPLIT, LALAL, FAL, SELFHOSTED = "sunoapi", "kie", "stemsplit", "lalal", "fal", "selfhosted"
PROVIDER_NAMES = (SUNOAPI, KIE, STEMSPLIT, LALAL, FAL, SELFHOSTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """How a provider works, by its documentation. 0 and an empty text mean 'not documented'.

    `finds_orders`: it honours no idempotency keys, but an order whose answer was lost can be found again.
    `signature` describes how its callbacks are verified. `charges_failures`: a task that fails may be
    charged. `rates` are its prices as multiples of the operator's `…_CREDITS_PER_MINUTE`, by mode; a mode
    without a rate has the price per call that `abilities` names.
    """

    title: str
    api_url: str
    abilities: Abilities
    rates: tuple[tuple[Mode, float], ...] = ()
    takes_url: bool
    takes_upload: bool
    has_callbacks: bool
    signature: str = ""
    has_idempotency_key: bool = False
    finds_orders: bool = False
    reports_progress: bool = False
    polls_many: bool = False  # one request returns the state of many tasks, so that they can be polled often
    has_cancel: bool = False
    has_balance: bool = False
    balance_unit: str = ""  # `seconds` or `minutes` of audio; credits are not named
    few_left: float = 0  # below this balance, the price of two songs, the admins are alerted
    formats: tuple[str, ...] = ()  # of sources: extensions with the dot
    longest_s: int = 0
    largest_bytes: int = 0
    links_live_s: int = 0
    charges_failures: bool = True
    price_note: str = ""  # the provider's own price, for docs/providers.md
    unknown: str = ""  # what its documentation leaves open

    @property
    def can_repeat(self) -> bool:
        """Whether a create call may be made again after a lost answer without ordering twice."""
        return self.has_idempotency_key or self.finds_orders

    def priced(self, credits_per_minute: float) -> Abilities:
        """Return its abilities with prices by the operator's setting, in credits per minute."""
        rates = dict(self.rates)
        modes = {
            mode: replace(it, per_minute=credits_per_minute * rates.get(mode, 0))
            for mode, it in self.abilities.modes.items()
        }
        return replace(self.abilities, modes=modes)

"""The interface of every separation provider. Code outside this package knows no provider's spellings."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from stemdrop.domain.abilities import Abilities
from stemdrop.domain.jobs import Mode
from stemdrop.domain.providers import Capabilities
from stemdrop.domain.results import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One create call. `call_id` names it, and is the idempotency key for providers that honour one.

    `is_repeated`: the call was made before, and its answer was lost. `source` is a URL, or what `upload`
    returned. `callback_url` is empty where results are polled. `file_format` and `max_file_bytes` are wishes
    for the stems, for a provider that offers the choice.
    """

    call_id: str
    source: str
    is_uploaded: bool
    mode: Mode
    instrument: str = ""
    callback_url: str = ""
    file_format: str = ""
    max_file_bytes: int = 0
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to a poll: the result, if there is one, and the progress in percent, if reported."""

    result: Result | None = None
    progress: int | None = None


class Provider(Protocol):
    """A client of one provider.

    Each call raises `Refused` (not accepted, not charged), `Unreachable` (not sent), `AnswerLost` (perhaps
    accepted) or `BadContract` (the answer is not what its documentation says).
    """

    name: str
    capabilities: Capabilities

    async def upload(self, name: str, content: AsyncIterator[bytes], size_bytes: int) -> str:
        """Upload a song as a stream and return the `source` of an order. Free of charge."""

    async def create(self, order: Order) -> str:
        """Order a split and return the task id. An accepted call is charged."""

    async def fetch(self, task_id: str) -> Report:
        """Return what is known of a task. Its stems' links are fresh. Free of charge."""

    async def read_callback(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Result]:
        """Verify a callback and return task id and result. Raises `ForgedRequest` or `BadContract`.

        Raises also `SeparationError` if the provider must be asked for it and does not answer. The names
        in `headers` are in lower case; `body` is unchanged, since signatures cover it.
        """

    async def balance(self) -> float | None:
        """Return the balance of the account in the provider's own unit; `None` if it is not told."""

    async def abilities(self) -> Abilities | None:
        """Return the abilities that the API reports, with prices in credits; `None`: `CAPABILITIES` holds."""

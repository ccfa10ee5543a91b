"""`Result`: the outcome of a task, and its stems."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Stem:
    """One file of a result.

    `key` is unique within the result and the same in callback and detail; `name` is the provider's name,
    shown if we have none for the key; `is_rest` marks the stem with everything but `name`.
    """

    key: str
    url: str
    name: str = ""
    is_rest: bool = False
    duration_s: float = 0


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a task: code 200 with stems, or another code without.

    `shape` describes a success whose stems were not recognised: keys and types, no values.
    """

    code: int
    stems: tuple[Stem, ...] = ()
    shape: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the provider reports success; there may still be no stem."""
        return self.code == 200

    @property
    def is_refunded(self) -> bool:
        """Whether the provider kept no credits: it returned them (531), or there were none (402)."""
        return self.code in (402, 531)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The reverse of `dataclasses.asdict`."""
        stems = tuple(Stem(**stem) for stem in value["stems"])
        return cls(value["code"], stems, value.get("shape", ""))

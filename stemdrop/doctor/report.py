"""What a check comes to: one line of the doctor's report."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from stemdrop.observability.printable_text import printable


class Result(StrEnum):
    """From well to bad."""

    OK = "ok"
    UNCHECKED = "not checked"
    WARNING = "warning"  # it works, or nobody can tell, and somebody should look
    WRONG = "wrong"  # something does not work, or soon will not


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject` and `check`: what was checked; `found`: how it is; `advice`: what to do, empty when well."""

    subject: str
    check: str
    result: Result
    found: str
    advice: str = ""


class Notes:
    """The findings of one subject, as they are made."""

    def __init__(self, subject: str) -> None:
        self.findings: list[Finding] = []
        self._subject = subject

    def beside(self) -> "Notes":
        """For what is checked at the same time and told afterwards."""
        return Notes(self._subject)

    def ok(self, check: str, found: str) -> None:
        """All is well."""
        self._add(check, Result.OK, found)

    def warning(self, check: str, found: str, advice: str) -> None:
        """To be looked at."""
        self._add(check, Result.WARNING, found, advice)

    def wrong(self, check: str, found: str, advice: str) -> None:
        """To be put right."""
        self._add(check, Result.WRONG, found, advice)

    def unchecked(self, check: str, why: str, advice: str = "") -> None:
        """It could not be checked, or need not be."""
        self._add(check, Result.UNCHECKED, why, advice)

    def _add(self, check: str, result: Result, found: str, advice: str = "") -> None:
        self.findings.append(Finding(self._subject, check, result, printable(found), printable(advice)))


def counters(findings: Sequence[Finding]) -> Counter[Result]:
    """How many of each."""
    return Counter(finding.result for finding in findings)


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether nothing is wrong; warnings are allowed."""
    return not counters(findings)[Result.WRONG]


def summary(findings: Sequence[Finding]) -> str:
    """`1 wrong, 2 warnings, 20 fine, 3 not checked`."""
    number = counters(findings)
    wrong, warnings = number[Result.WRONG], number[Result.WARNING]
    told = [f"{wrong} wrong", f"{warnings} warning{'' if warnings == 1 else 's'}"]
    return ", ".join([*told, f"{number[Result.OK]} fine", f"{number[Result.UNCHECKED]} not checked"])

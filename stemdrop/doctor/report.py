"""The findings of the doctor's checks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from stemdrop.observability.printable_text import printable


class CheckResult(StrEnum):
    OK = "ok"
    UNCHECKED = "not checked"
    WARNING = "warning"  # it works, or may work; the operator should look at it
    WRONG = "wrong"  # something does not work, or soon will not


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was found, and the advice, which is empty if all is well."""

    subject: str
    check: str
    result: CheckResult
    found: str
    advice: str = ""


class SubjectReport:
    """Collects the findings about one subject."""

    def __init__(self, subject: str) -> None:
        self.findings: list[Finding] = []
        self.subject = subject

    def ok(self, check: str, found: str) -> None:
        self._add(check, CheckResult.OK, found)

    def warning(self, check: str, found: str, advice: str) -> None:
        self._add(check, CheckResult.WARNING, found, advice)

    def wrong(self, check: str, found: str, advice: str) -> None:
        self._add(check, CheckResult.WRONG, found, advice)

    def unchecked(self, check: str, why: str, advice: str = "") -> None:
        """Add that the check could not be done, or is not needed."""
        self._add(check, CheckResult.UNCHECKED, why, advice)

    def rate(self, check: str, found: str, advice: str, *, wrong: object = (), warning: object = ()) -> None:
        """Add the finding as wrong if `wrong` is true, else as a warning if `warning` is, else as ok."""
        if wrong or warning:
            self._add(check, CheckResult.WRONG if wrong else CheckResult.WARNING, found, advice)
        else:
            self.ok(check, found)

    def _add(self, check: str, result: CheckResult, found: str, advice: str = "") -> None:
        self.findings.append(Finding(self.subject, check, result, printable(found), printable(advice)))


def count_results(findings: Sequence[Finding]) -> Counter[CheckResult]:
    return Counter(finding.result for finding in findings)


def is_well(findings: Sequence[Finding]) -> bool:
    return not count_results(findings)[CheckResult.WRONG]


def summary(findings: Sequence[Finding]) -> str:
    """Return `1 wrong, 2 warnings, 20 fine, 3 not checked`."""
    number = count_results(findings)
    warnings, s = number[CheckResult.WARNING], "" if number[CheckResult.WARNING] == 1 else "s"
    bad = f"{number[CheckResult.WRONG]} wrong, {warnings} warning{s}"
    return f"{bad}, {number[CheckResult.OK]} fine, {number[CheckResult.UNCHECKED]} not checked"

"""Every code of the contract, and every reason of ours, has its remedies."""

import re
from pathlib import Path

import pytest

from stemdrop.domain.failures import REMEDIES, Remedy, remedies
from stemdrop.domain.jobs import Failure, Obstacle

ROOT = Path(__file__).parents[3]
CONTRACT = (400, 401, 402, 404, 408, 409, 413, 422, 429, 451, 455, 500, 501, 505, 531)


def test_every_code_of_the_contract_is_known() -> None:
    assert {str(code) for code in CONTRACT} <= REMEDIES.keys()


def test_every_reason_of_ours_is_known() -> None:
    """The table has exactly the reasons that the code uses."""
    given: set[str] = set(Obstacle)
    paths = [
        *(ROOT / "bot").rglob("*.py"),
        *(ROOT / "worker").rglob("*.py"),
        *(ROOT / "stemdrop/services").rglob("*.py"),
        ROOT / "stemdrop/domain/failures.py",
    ]
    for path in paths:
        text = path.read_text("utf-8")
        given |= set(re.findall(r'(?:Failure\(|_again_or_fail\(job, run, )"(\w+)"', text))
        given |= set(re.findall(r'Failure\("\w+" if \w+ else "(\w+)"', text))
    assert given == {code for code in REMEDIES if not code.isdigit()}


@pytest.mark.parametrize(
    "code",
    [
        *("401", "402", "404", "408", "409", "429", "451", "455", "500", "501", "531"),
        *("timeout", "lost", "unreachable", "internal", "undeliverable"),
        *("599", "0", "-1", "", "an unknown code"),
    ],
)
@pytest.mark.parametrize("charged", [True, False, None])
def test_trying_again_can_help(code: str, *, charged: bool | None) -> None:
    assert Remedy.RETRY in remedies(Failure(code, charged))


@pytest.mark.parametrize("code", ["400", "413", "422", "505", "source_gone", "empty"])
def test_trying_again_cannot_help(code: str) -> None:
    assert Remedy.RETRY not in remedies(Failure(code))


@pytest.mark.parametrize("code", ["422", "501", "505", "empty"])
def test_another_way_of_splitting_can_help(code: str) -> None:
    assert Remedy.OTHER_MODE in remedies(Failure(code))

"""`stemdrop doctor` against set-ups that are wrong in one respect each: the right line says so, and what to
do, and all others are fine."""

import outside
import pytest
from doctor_fixture import DoctorFixture
from doctor_page import names, row, rows
from internet import NoNamespaces
from misconfigurations import AILMENTS, Misconfiguration

from stemdrop.doctor.report import Finding, Result, is_well

pytestmark = pytest.mark.asyncio(loop_scope="module")

FINE = (Result.OK, Result.UNCHECKED)


def bad(findings: list[Finding]) -> dict[str, Finding]:
    return {f"{it.subject}: {it.check}": it for it in findings if it.result not in FINE}


async def test_where_all_is_well_every_line_says_so(doctor_fixture: DoctorFixture) -> None:
    findings = await doctor_fixture.examine()
    assert bad(findings) == {}
    assert is_well(findings)
    unchecked = {it.check for it in findings if it.result is Result.UNCHECKED}
    assert unchecked == {"upload host"}
    assert len({(it.subject, it.check) for it in findings}) == len(findings) > 30


@pytest.mark.parametrize("misconfiguration", AILMENTS, ids=lambda it: it.text)
async def test_what_is_wrong_is_named(
    doctor_fixture: DoctorFixture, misconfiguration: Misconfiguration
) -> None:
    async with misconfiguration.spoil(doctor_fixture):
        findings = await doctor_fixture.examine()
    check(misconfiguration, findings)


def check(case: Misconfiguration | outside.Case, findings: list[Finding]) -> None:
    """This line tells, the page says so too, and all others are fine."""
    found = bad(findings)
    assert set(found) == {case.check, *case.also}, found
    named = found[case.check]
    assert named.result is case.result
    assert case.found in named.found
    assert named.advice.startswith(case.advice)
    assert is_well(findings) is all(it.result is not Result.WRONG for it in found.values())
    assert row(case.text, named) in rows()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    """A public address with a name, in a small internet of its own."""
    try:
        return outside.play(tmp_path_factory.mktemp("outside"))
    except NoNamespaces as why:
        pytest.skip(str(why))


@pytest.mark.parametrize("case", outside.CASES, ids=lambda it: it.text)
async def test_what_is_wrong_with_a_name_is_named(seen: dict[str, list[Finding]], case: outside.Case) -> None:
    check(case, seen[case.text])


async def test_a_public_address_that_is_well(seen: dict[str, list[Finding]]) -> None:
    assert {it.result for it in seen[outside.HEALTHY]} == {Result.OK}


async def test_the_page_tells_of_all_of_them_and_no_others() -> None:
    told = [line.split(" | ")[0].removeprefix("| ") for line in rows()]
    assert told == list(names())
    assert len(set(told)) == len(told) > 70

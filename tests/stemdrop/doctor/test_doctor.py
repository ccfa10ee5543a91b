"""`stemdrop doctor` with misconfigurations: their findings name them, and all others are fine."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

import outside
import pytest
from doctor_fixture import DoctorFixture
from doctor_page import names, row, rows
from internet import NoNamespaces
from misconfiguration import Misconfiguration
from misconfigurations import runs
from provider import Provider

from separator.reports import report_abilities
from stemdrop.doctor.report import CheckResult, Finding, is_well
from stemdrop.storage.circuits import Circuits

pytestmark = pytest.mark.asyncio(loop_scope="module")

FINE = (CheckResult.OK, CheckResult.UNCHECKED)


def problems(findings: list[Finding]) -> dict[str, Finding]:
    return {f"{it.subject}: {it.check}": it for it in findings if it.result not in FINE}


async def test_a_healthy_set_up_has_no_problems(doctor_fixture: DoctorFixture) -> None:
    findings = await doctor_fixture.run_checks()
    assert problems(findings) == {}
    assert is_well(findings)
    unchecked = {it.check for it in findings if it.result is CheckResult.UNCHECKED}
    assert unchecked == {"upload host"}
    assert len({(it.subject, it.check) for it in findings}) == len(findings) > 30


@pytest.mark.parametrize(
    ("better", "found"),
    [
        ("", "own separator, engine light"),
        (
            "spleeter",
            "own separator, engine light; for better stems run stemdrop fetch-model spleeter",
        ),
    ],
)
async def test_the_own_separators_engine_is_named_and_no_credits(
    doctor_fixture: DoctorFixture, better: str, found: str
) -> None:
    doctor_fixture.provider.abilities = report_abilities("light", ("vocals",), {}, better)
    checks = {it.check: it for it in await doctor_fixture.run_checks() if it.subject == "separation API"}
    assert (checks["engine"].found, checks["engine"].result) == (found, CheckResult.OK)
    assert "credits" not in checks
    assert "JOB_TIMEOUT_S" not in checks


async def test_each_of_several_providers_is_a_subject(doctor_fixture: DoctorFixture) -> None:
    names = ("LALAL", "FAL")
    doctor_fixture.environ |= {
        **{f"{name}_API_URL": doctor_fixture.provider.url for name in names},
        **{f"{name}_API_KEY": f"a-key-of-{name}" for name in names},
        "PROVIDERS": "sunoapi,selfhosted,lalal,fal",
        "SELFHOSTED_API_KEY": "not-this-one",
        "LALAL_CREDITS_PER_MINUTE": "7",
    }
    await Circuits(doctor_fixture.product.redis).failed("fal", "it is away", at_once=True)
    async with Provider(b"").run() as own_separator:
        doctor_fixture.environ["SELFHOSTED_API_URL"] = own_separator.url
        findings = await doctor_fixture.run_checks()
    found = {(it.subject, it.check): it for it in findings}
    assert found["sunoapi.org", "credits"].found == "1,000 left"
    assert found["own separator", "API key"].advice == "copy SELFHOSTED_API_KEY again from the provider"
    assert found["LALAL.AI", "API key"].advice.startswith("correct LALAL_API_URL")
    assert found["LALAL.AI", "results"].found == "polled: it has no callbacks"
    assert found["LALAL.AI", "price"].found.startswith("separate_vocal 7 credits a minute, split_stem 42")
    assert found["fal", "API key"].result is CheckResult.UNCHECKED
    assert found["fal", "results"].found == "by callbacks to PUBLIC_URL"
    orders = found["fal", "orders"]
    assert (orders.result, orders.found.rpartition(": ")[2]) == (CheckResult.WARNING, "it is away")
    assert found["sunoapi.org", "orders"].result is CheckResult.OK
    assert "separation API" not in {it.subject for it in findings}


@pytest.mark.parametrize("cases", runs(), ids=lambda cases: ", ".join(it.text for it in cases))
async def test_misconfigurations_are_named(
    doctor_fixture: DoctorFixture, cases: list[Misconfiguration]
) -> None:
    async with AsyncExitStack() as stack:
        for case in cases:
            await stack.enter_async_context(case.apply(doctor_fixture))
        findings = await doctor_fixture.run_checks()
    check(cases, findings)


def check(cases: Sequence[Misconfiguration | outside.Case], findings: list[Finding]) -> None:
    """Exactly the expected checks report a problem, as the page says."""
    found = problems(findings)
    assert set(found) == {check for case in cases for check in (case.check, *case.also)}, found
    for case in cases:
        named = found[case.check]
        assert named.result is case.result
        assert case.found in named.found
        assert named.advice.startswith(case.advice)
        assert row(case.text, named) in rows()
    assert is_well(findings) is all(it.result is not CheckResult.WRONG for it in found.values())


@pytest.fixture(scope="module")
def outside_findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    """The findings for public addresses with a DNS name, from a run in network namespaces."""
    try:
        return outside.run(tmp_path_factory.mktemp("outside"))
    except NoNamespaces as why:
        pytest.skip(str(why))


@pytest.mark.parametrize("case", outside.CASES, ids=lambda it: it.text)
async def test_a_misconfiguration_of_a_named_address_is_named(
    outside_findings: dict[str, list[Finding]], case: outside.Case
) -> None:
    check([case], outside_findings[case.text])


async def test_a_healthy_public_address_has_no_problems(outside_findings: dict[str, list[Finding]]) -> None:
    assert {it.result for it in outside_findings[outside.HEALTHY]} == {CheckResult.OK}


async def test_the_page_lists_every_misconfiguration_once() -> None:
    listed = [line.split(" | ")[0].removeprefix("| ") for line in rows()]
    assert listed == list(names())
    assert len(set(listed)) == len(listed) > 70

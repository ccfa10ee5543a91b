"""A host of the stems is looked up before anything is paid; the line says what to set."""

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest
from product import Product

from stemdrop.doctor.context import CheckContext, DoctorTimeouts
from stemdrop.doctor.report import CheckResult, SubjectReport
from stemdrop.doctor.separation_api import check_stem_host
from stemdrop.errors import SettingsError
from stemdrop.services.stem_host import find_stem_host_problem
from stemdrop.settings import Settings, load_settings
from stemdrop.settings.providers import KNOWN_STEM_HOSTS
from worker.run import run_worker

API = "api.sunoapi.org"


@pytest.fixture(params=["198.18.3.7", "fc00::7", "10.1.2.3", "127.0.0.1"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the host of the stems resolves to: an address is a name that resolves to itself."""
    monkeypatch.setitem(KNOWN_STEM_HOSTS, API, request.param)
    return str(request.param)


def settings(**changes: str) -> Settings:
    required = {"TELEGRAM_BOT_TOKEN": "1:AAabc", "SEPARATION_API_KEY": "key", "SECRET_KEY": "secret"}
    return load_settings({**required, **changes})


SET = {
    "198.18.3.7": "set STEM_NETWORKS=198.18.0.0/15",
    "fc00::7": "set STEM_NETWORKS=fc00::/18",
    "10.1.2.3": "set STEM_NETWORKS=10.1.0.0/16",
    "127.0.0.1": "let your DNS server, which seems to block it, resolve it",
}


async def test_the_problem_says_what_to_set_and_goes_with_it(address: str) -> None:
    problem = await find_stem_host_problem(settings())
    assert problem.startswith(f"{address}, where stems are, resolves to {address}, which is not public")
    assert problem.endswith(SET[address])
    if "=" in SET[address]:
        name, _, value = SET[address].removeprefix("set ").partition("=")
        assert await find_stem_host_problem(settings(**{name: value})) == ""
    assert await find_stem_host_problem(settings(SEPARATION_API_URL="http://separator:8001")) == ""
    other = settings(PROVIDERS="lalal", LALAL_API_KEY="key")
    assert await find_stem_host_problem(other) == ""
    both = settings(PROVIDERS="lalal,sunoapi", LALAL_API_KEY="key")
    assert await find_stem_host_problem(both) == problem


@pytest.mark.parametrize("address", ["198.18.3.7"], indirect=True)
async def test_a_worker_that_could_not_fetch_stems_does_not_start(product: Product, address: str) -> None:
    product.settings = product.settings.model_copy(update={"separation_api_url": f"https://{API}"})
    with pytest.raises(SettingsError, match=r"^STEM_NETWORKS: .*set STEM_NETWORKS=198\.18\.0\.0/15$"):
        await run_worker(product, asyncio.Event())


async def test_a_name_that_does_not_resolve_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN_STEM_HOSTS, API, "..")
    assert await find_stem_host_problem(settings()) == ""


async def test_behind_a_proxy_nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", refuse)
    assert await find_stem_host_problem(settings(HTTPS_PROXY="proxy:3128")) == ""
    with pytest.raises(AssertionError):
        await find_stem_host_problem(settings())


@pytest.mark.parametrize("address", ["198.18.3.7"], indirect=True)
async def test_the_doctor_names_it(product: Product, tmp_path: Path, address: str) -> None:
    proxied = {"HTTPS_PROXY": "proxy.example.org:3128"}
    for changes, result, advice in (
        ({}, CheckResult.WRONG, "set STEM_NETWORKS=198.18.0.0/15"),
        ({"STEM_NETWORKS": "198.18.0.0/15"}, CheckResult.OK, ""),
        ({**proxied, "STEM_HOSTS": "198.18.3.7"}, CheckResult.OK, ""),
    ):
        checked = settings(**changes)
        async with httpx.AsyncClient(verify=False) as http:
            trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context = CheckContext(checked, DoctorTimeouts(), product.redis, http, trusted, tmp_path)
            report = SubjectReport("separation API")
            await check_stem_host(context, report)
        (line,) = report.findings
        assert (line.check, line.result) == ("stem host", result)
        assert line.advice.endswith(advice)

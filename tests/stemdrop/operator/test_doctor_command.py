"""`stemdrop doctor`: its output and exit codes; it changes nothing and shows no secret."""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import httpx
import pytest
from doctor_fixture import DoctorFixture
from misconfiguration import everywhere
from starlette.responses import HTMLResponse

from stemdrop.cli import run
from stemdrop.doctor.checks import run_checks
from stemdrop.doctor.context import CheckContext, DoctorTimeouts
from stemdrop.doctor.machine import temporary_folder
from stemdrop.doctor.report import CheckResult, Finding, SubjectReport
from stemdrop.doctor.telegram import check_files
from stemdrop.operator import doctor_command
from stemdrop.operator.terminal import print_lines
from stemdrop.services.disk_space import temp_root
from stemdrop.settings import load_settings
from stemdrop.storage.heartbeats import Heartbeat
from stemdrop.storage.keys import PRESENT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def _no_file_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_the_report_the_exit_codes_and_json(
    doctor_fixture: DoctorFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asyncio.to_thread(run, ["doctor"], doctor_fixture.environ) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "  ✓ bot token        @stemdrop_sandbox_bot\n" in out
    assert out.splitlines()[-1].startswith("0 wrong, 0 warnings, ")

    await doctor_fixture.heartbeats("bot", "webhook")
    doctor_fixture.environ["SEPARATION_API_KEY"] = "a-key-that-is-refused"
    assert await asyncio.to_thread(run, ["doctor"], doctor_fixture.environ) == 1
    out, _ = capsys.readouterr()
    assert "  ✗ worker           none runs: nothing is submitted or delivered\n" in out
    assert "      → start it: `stemdrop worker`\n" in out
    assert out.splitlines()[-1].startswith("2 wrong, 0 warnings, ")

    assert await asyncio.to_thread(run, ["doctor", "--json"], doctor_fixture.environ) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["is_well"], document["counts"]["wrong"], err) == (False, 2, "")
    worker = next(it for it in document["findings"] if it["check"] == "worker")
    assert worker == {
        "subject": "processes",
        "check": "worker",
        "result": "wrong",
        "found": "none runs: nothing is submitted or delivered",
        "advice": "start it: `stemdrop worker`",
    }


async def test_the_doctor_confirms_changes_and_pays_nothing(
    doctor_fixture: DoctorFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even where it polls because no bot of ours runs."""
    telegram = doctor_fixture.product.telegram
    await doctor_fixture.heartbeats()
    bob = telegram.add_user("Bob")
    telegram.send_text(bob.id, "for the bot")
    keys = set(await doctor_fixture.product.redis.keys())
    calls, requests = len(telegram.calls), len(doctor_fixture.provider.requests)
    await doctor_fixture.run_checks()
    assert len(telegram.updates.pending) == 1
    telegram.updates.drop()
    checking = asyncio.create_task(doctor_fixture.run_checks())  # no update waits, so it polls
    await telegram.wait_for(lambda: telegram.updates.is_awaited or checking.done())
    telegram.send_text(bob.id, "ends the poll")
    await checking
    assert {call.method for call in telegram.calls[calls:]} == {
        "getMe",
        "getWebhookInfo",
        "getUpdates",
        "getFile",
    }
    assert {line.split(" ")[0] for line in doctor_fixture.provider.requests[requests:]} == {"GET"}
    assert doctor_fixture.provider.creates == []
    assert set(await doctor_fixture.product.redis.keys()) - keys <= {"stemdrop:ping"}


async def test_no_secret_is_shown(doctor_fixture: DoctorFixture) -> None:
    """Even where servers repeat secrets in their responses."""
    doctor_fixture.environ |= {
        "SEPARATION_API_KEY": "a-key-that-is-refused",
        "REDIS_URL": "redis://:word-of-redis@127.0.0.1:9",
        # through a proxy that is not there
        "SEPARATION_API_URL": "http://api.example.org",
        "ALL_PROXY": "http://user:word-of-proxy@127.0.0.1:9",
        "PUBLIC_URL": "",
    }
    settings = load_settings(doctor_fixture.environ)
    findings = await run_checks(settings, doctor_fixture.timeouts, doctor_fixture.folder)
    assert [secret for secret in settings.secrets if secret in repr(findings)] == []
    for check in ("API key", "upload host"):
        (line,) = [it for it in findings if it.check == check]
        assert "the proxy http://127.0.0.1:9 does not lead to it: " in line.found
        assert "check HTTPS_PROXY" in line.advice


async def test_a_secret_in_a_page_title_is_hidden(doctor_fixture: DoctorFixture) -> None:
    title = "<title>At {}</title>".format(doctor_fixture.environ["SEPARATION_API_KEY"])
    async with doctor_fixture.behind(everywhere(lambda _: HTMLResponse(title))):
        (line,) = [it for it in await doctor_fixture.run_checks() if it.check == "webhook" and it.advice]
    assert "a page “At ***”" in line.found


async def test_a_set_up_without_a_public_address_has_no_problems(doctor_fixture: DoctorFixture) -> None:
    doctor_fixture.environ["PUBLIC_URL"] = ""
    await doctor_fixture.heartbeats("bot", "worker")
    findings = await doctor_fixture.run_checks()
    assert {it.result for it in findings} == {CheckResult.OK, CheckResult.UNCHECKED}
    (line,) = [it for it in findings if it.subject == "public address"]
    assert (line.result, line.found.partition(",")[0]) == (CheckResult.OK, "empty")
    assert "upload host" in {it.check for it in findings if it.result is CheckResult.OK}


@pytest.mark.parametrize("is_json", [False, True])
async def test_a_missing_setting_is_reported_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_json: bool
) -> None:
    assert run(["doctor", *(["--json"] if is_json else [])], {"SECRET_KEY": "x"}) == 2
    out, err = capsys.readouterr()
    names = ("TELEGRAM_BOT_TOKEN", "SEPARATION_API_KEY")
    sentences = [f"{name} is missing: set it in the environment or in .env" for name in names]
    if is_json:
        assert [it["found"] for it in json.loads(out)["findings"]] == sentences
    else:
        assert (out, err.splitlines()) == ("", [f"stemdrop: {sentence}" for sentence in sentences])


async def test_marks_are_ascii_where_the_locale_requires_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [Finding("machine", "clock", CheckResult.WRONG, "off “by” an hour", "set it")]
    for encoding, mark in (("utf-8", "✗"), ("ascii", "x")):
        written = BytesIO()
        monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding))
        print_lines(doctor_command.lines(findings, doctor_command._can_write_marks()))
        assert written.getvalue().decode(encoding).splitlines()[1].startswith(f"  {mark} clock  off ")


async def test_every_subject_ends_within_its_timeout(tmp_path: Path) -> None:
    """Servers that accept connections and send nothing cannot delay it, Redis included."""
    silent = socket.create_server(("127.0.0.1", 0))
    place = f"127.0.0.1:{silent.getsockname()[1]}"
    settings = load_settings(
        {
            "TELEGRAM_BOT_TOKEN": "7000000001:AAabc-_123",
            "TELEGRAM_API_URL": f"http://{place}",
            "SEPARATION_API_URL": f"http://{place}",
            "SEPARATION_API_KEY": "key-of-the-api",
            "SECRET_KEY": "a-secret-for-tests",
            "PUBLIC_URL": f"https://{place}",
            "REDIS_URL": f"redis://{place}",
        }
    )
    findings = await run_checks(settings, DoctorTimeouts(redis_s=0.4, subject_s=0.5), tmp_path)
    assert {it.subject for it in findings if it.check == "the rest"} >= {"Telegram", "separation API"}
    assert {it.result for it in findings if it.check == "reachable"} == {CheckResult.WRONG}
    silent.close()


async def test_the_default_timeouts_end_within_40_seconds() -> None:
    timeouts = DoctorTimeouts()
    assert timeouts.redis_s + timeouts.subject_s < 40


async def test_control_characters_are_removed_from_findings() -> None:
    notes = SubjectReport("machine")
    notes.wrong("clock", "a\x1b[2Jb\nc", "d\0e")
    (finding,) = notes.findings
    assert (finding.found, finding.advice) == ("a [2Jb c", "d e")


async def test_a_killed_bot_is_not_taken_for_a_second_poller(doctor_fixture: DoctorFixture) -> None:
    """Its heartbeat stays in Redis for a minute; meanwhile the doctor does not poll."""
    killed = Heartbeat("bot", "host-3", 1, "0.1.0", 0, time.time() - 40)
    noted: Mapping[Any, Any] = {killed.name: json.dumps(asdict(killed))}
    await doctor_fixture.product.redis.hset(PRESENT, mapping=noted)
    (line,) = [it for it in await doctor_fixture.run_checks() if it.check == "second poller"]
    assert (line.result, line.found) == (CheckResult.OK, "our bot receives its updates undisturbed")
    await doctor_fixture.heartbeats("webhook", "worker")
    await doctor_fixture.product.redis.hset(PRESENT, mapping=noted)
    (line,) = [it for it in await doctor_fixture.run_checks() if it.check == "second poller"]
    assert (line.result, line.advice) == (CheckResult.UNCHECKED, "run the doctor again in a minute")


async def test_an_unreadable_certificate_file_is_one_line(
    doctor_fixture: DoctorFixture, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authorities.pem")
    assert await asyncio.to_thread(run, ["doctor"], doctor_fixture.environ) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("stemdrop: SSL_CERT_FILE or SSL_CERT_DIR cannot be read: ")


async def test_the_folder_is_the_one_that_the_worker_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python itself picks another folder when that disk is full."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert temporary_folder() == tmp_path == Path(temp_root())
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    assert temporary_folder() == Path(temp_root())


@pytest.mark.parametrize(("is_local", "result"), [("true", CheckResult.WRONG), ("false", CheckResult.OK)])
async def test_api_telegram_org_is_no_local_server(
    doctor_fixture: DoctorFixture, is_local: str, result: CheckResult
) -> None:
    del doctor_fixture.environ["TELEGRAM_API_URL"]
    settings = load_settings({**doctor_fixture.environ, "TELEGRAM_LOCAL_MODE": is_local})
    async with httpx.AsyncClient(verify=httpx.create_ssl_context()) as http:
        exam = CheckContext(
            settings,
            DoctorTimeouts(),
            doctor_fixture.product.redis,
            http,
            httpx.create_ssl_context(),
            doctor_fixture.folder,
        )
        notes = SubjectReport("Telegram")
        await check_files(exam, notes)
    assert [it.result for it in notes.findings] == [result]

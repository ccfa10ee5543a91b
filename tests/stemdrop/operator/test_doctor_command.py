"""`stemdrop doctor` as an operator starts it: what is printed, the exit codes, and what never happens."""

import asyncio
import json
import logging
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from io import BytesIO, TextIOWrapper
from pathlib import Path

import httpx
import pytest
from doctor_fixture import DoctorFixture
from misconfiguration import everywhere
from starlette.responses import HTMLResponse

from stemdrop.cli import run
from stemdrop.doctor.checkup import examine
from stemdrop.doctor.examination import Examination, Patience
from stemdrop.doctor.machine import temporary_folder
from stemdrop.doctor.report import Finding, Notes, Result
from stemdrop.doctor.telegram import examine_files
from stemdrop.operator import doctor_command
from stemdrop.operator.terminal import say
from stemdrop.services.disk_space import temp_root
from stemdrop.settings import load_settings
from stemdrop.storage.heartbeats import Heartbeat
from stemdrop.storage.keys import PRESENT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def _no_file_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_all_is_well_something_is_wrong_and_for_machines(
    doctor_fixture: DoctorFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a person reads it, with exit code 0; with 1 and the advice; and as JSON."""
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
    told = json.loads(out)
    assert (told["is_well"], told["counts"]["wrong"], err) == (False, 2, "")
    worker = next(it for it in told["findings"] if it["check"] == "worker")
    assert worker == {
        "subject": "processes",
        "check": "worker",
        "result": "wrong",
        "found": "none runs: nothing is submitted or delivered",
        "advice": "start it: `stemdrop worker`",
    }


async def test_nothing_is_confirmed_changed_or_paid(
    doctor_fixture: DoctorFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where it polls, since no bot of ours is there."""
    telegram = doctor_fixture.product.telegram
    await doctor_fixture.heartbeats()
    doctor_fixture.patience = Patience(listen_s=0.3)
    telegram.send_text(telegram.add_user("Bob").id, "for the bot")
    keys = set(await doctor_fixture.product.redis.keys())
    calls, requests = len(telegram.calls), len(doctor_fixture.provider.requests)
    await doctor_fixture.examine()
    assert len(telegram.updates.pending) == 1
    telegram.updates.drop()
    await doctor_fixture.examine()  # nothing waits, so it listens
    assert {call.method for call in telegram.calls[calls:]} == {
        "getMe",
        "getWebhookInfo",
        "getUpdates",
        "getFile",
    }
    assert {line.split(" ")[0] for line in doctor_fixture.provider.requests[requests:]} == {"GET"}
    assert doctor_fixture.provider.creates == []
    assert set(await doctor_fixture.product.redis.keys()) - keys <= {"stemdrop:ping"}


async def test_no_secret_is_told(doctor_fixture: DoctorFixture) -> None:
    """Not even by servers that repeat what they were sent, nor a foreign webhook's path."""
    doctor_fixture.environ |= {
        "SEPARATION_API_KEY": "a-key-that-is-refused",
        "REDIS_URL": "redis://:word-of-redis@127.0.0.1:9",
    }
    doctor_fixture.environ["PUBLIC_URL"] = doctor_fixture.environ["PUBLIC_URL"].replace(
        "//", "//user:word-of-url@"
    )
    settings = load_settings(doctor_fixture.environ)
    told = repr(await examine(settings, doctor_fixture.patience, doctor_fixture.folder))
    assert [secret for secret in settings.secrets if secret in told] == []


async def test_who_repeats_a_secret_does_not_make_the_doctor_tell_it(doctor_fixture: DoctorFixture) -> None:
    title = "<title>At {}</title>".format(doctor_fixture.environ["SEPARATION_API_KEY"])
    async with doctor_fixture.behind(everywhere(lambda _: HTMLResponse(title))):
        (line,) = [it for it in await doctor_fixture.examine() if it.check == "webhook" and it.advice]
    assert "a page “At ***”" in line.found


async def test_no_public_address_is_needed(doctor_fixture: DoctorFixture) -> None:
    doctor_fixture.environ["PUBLIC_URL"] = ""
    await doctor_fixture.heartbeats("bot", "worker")
    findings = await doctor_fixture.examine()
    assert {it.result for it in findings} == {Result.OK, Result.UNCHECKED}
    (line,) = [it for it in findings if it.subject == "public address"]
    assert (line.result, line.found.partition(",")[0]) == (Result.OK, "empty")
    assert "upload host" in {it.check for it in findings if it.result is Result.OK}


@pytest.mark.parametrize("is_json", [False, True])
async def test_a_wrong_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_json: bool
) -> None:
    assert run(["doctor", *(["--json"] if is_json else [])], {"SECRET_KEY": "x"}) == 2
    out, err = capsys.readouterr()
    sentence = "TELEGRAM_BOT_TOKEN is missing: set it in the environment or in .env"
    if is_json:
        assert [it["found"] for it in json.loads(out)["findings"]] == [sentence]
    else:
        assert (out, err) == ("", f"stemdrop: {sentence}\n")


async def test_marks_are_plain_where_the_locale_has_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [Finding("machine", "clock", Result.WRONG, "off “by” an hour", "set it")]
    for encoding, mark in (("utf-8", "✗"), ("ascii", "x")):
        written = BytesIO()
        monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding))
        say(doctor_command.lines(findings, doctor_command._can_write_marks()))
        assert written.getvalue().decode(encoding).splitlines()[1].startswith(f"  {mark} clock  off ")


async def test_who_keeps_it_waiting_is_left(tmp_path: Path) -> None:
    """Servers that take connections and say nothing: every subject ends in its time, Redis' too."""
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
    began = time.monotonic()
    findings = await examine(settings, Patience(redis_s=0.4, subject_s=0.5), tmp_path)
    assert time.monotonic() - began < 20
    assert {it.subject for it in findings if it.check == "the rest"} >= {"Telegram", "separation API"}
    assert {it.result for it in findings if it.check == "reachable"} == {Result.WRONG}
    silent.close()


async def test_the_patience_of_all_subjects_ends_within_40_seconds() -> None:
    patience = Patience()
    assert patience.redis_s + patience.subject_s < 40


async def test_notes_are_lines_that_no_terminal_obeys() -> None:
    notes = Notes("machine")
    notes.wrong("clock", "a\x1b[2Jb\nc", "d\0e")
    (finding,) = notes.findings
    assert (finding.found, finding.advice) == ("a [2Jb c", "d e")


async def test_a_bot_that_was_killed_is_no_second_one(doctor_fixture: DoctorFixture) -> None:
    """It is in Redis for a minute; and where it is the only one, nobody polls to find out."""
    killed = Heartbeat("bot", "host-3", 1, "0.1.0", 0, time.time() - 40)
    noted = {killed.name: json.dumps(asdict(killed))}
    await doctor_fixture.product.redis.hset(PRESENT, mapping=noted)
    (line,) = [it for it in await doctor_fixture.examine() if it.check == "second poller"]
    assert (line.result, line.found) == (Result.OK, "our bot gets its updates undisturbed")
    await doctor_fixture.heartbeats("webhook", "worker")
    await doctor_fixture.product.redis.hset(PRESENT, mapping=noted)
    (line,) = [it for it in await doctor_fixture.examine() if it.check == "second poller"]
    assert (line.result, line.advice) == (Result.UNCHECKED, "look again in a minute")


async def test_a_failure_of_its_own_is_one_line(
    doctor_fixture: DoctorFixture, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authorities.pem")
    assert await asyncio.to_thread(run, ["doctor"], doctor_fixture.environ) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("stemdrop: the doctor itself failed: ")


async def test_stems_lie_where_the_worker_puts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python itself goes elsewhere when the disk is full there."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert temporary_folder() == tmp_path == Path(temp_root())
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    assert temporary_folder() == Path(temp_root())


@pytest.mark.parametrize(("is_local", "result"), [("true", Result.WRONG), ("false", Result.OK)])
async def test_telegrams_own_server_is_nobodys_local_one(
    doctor_fixture: DoctorFixture, is_local: str, result: Result
) -> None:
    """Known without asking it."""
    del doctor_fixture.environ["TELEGRAM_API_URL"]
    settings = load_settings({**doctor_fixture.environ, "TELEGRAM_LOCAL_MODE": is_local})
    async with httpx.AsyncClient(verify=httpx.create_ssl_context()) as http:
        exam = Examination(
            settings,
            Patience(),
            doctor_fixture.product.redis,
            http,
            httpx.create_ssl_context(),
            doctor_fixture.folder,
        )
        notes = Notes("Telegram")
        await examine_files(exam, notes)
    assert [it.result for it in notes.findings] == [result]

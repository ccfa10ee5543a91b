"""Misconfigurations of Telegram: the token, updates, files."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from doctor_fixture import DoctorFixture
from misconfiguration import everywhere, misconfiguration
from product import NOBODY
from starlette.responses import HTMLResponse
from waits import WAIT_S

from bot.polling import SECOND_POLLER
from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from sandbox.telegram.updates import Webhook
from stemdrop.doctor.report import CheckResult


@misconfiguration(
    "a token that Telegram does not know",
    "Telegram: bot token",
    "Telegram refuses it",
    "copy TELEGRAM_BOT_TOKEN again",
)
async def wrong_token(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["TELEGRAM_BOT_TOKEN"] = "7000000001:not-this-one"
    yield


@misconfiguration(
    "no server at `TELEGRAM_API_URL`",
    "Telegram: bot token",
    "refuses connections",
    "is it running, and at this port?",
)
async def no_telegram(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["TELEGRAM_API_URL"] = NOBODY
    yield


@misconfiguration(
    "a web site at `TELEGRAM_API_URL`",
    "Telegram: bot token",
    "not like the Bot API",
    "correct TELEGRAM_API_URL",
)
async def site_for_telegram(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with serve(everywhere(lambda _: HTMLResponse("<title>Welcome</title>"))) as url:
        doctor_fixture.environ["TELEGRAM_API_URL"] = url
        yield


@misconfiguration(
    "another program polls while our bot does not run",
    "Telegram: second poller",
    "another program polls with this bot's token",
    "stop the other program",
    also=["processes: bot"],
)
async def second_poller(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("webhook", "worker")
    polling = asyncio.create_task(poll_for_ever(doctor_fixture))
    await doctor_fixture.product.telegram.wait_for(lambda: doctor_fixture.product.telegram.updates.is_awaited)
    try:
        yield
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


@misconfiguration(
    "another program polls beside our bot",
    "Telegram: second poller",
    "another program polls with this bot's token",
    "stop the other program",
    also=["processes: bot"],
)
async def rival_of_our_bot(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("webhook", "worker")
    await doctor_fixture.add_heartbeat("bot", SECOND_POLLER)
    yield


@misconfiguration(
    "two of our bots poll",
    "Telegram: second poller",
    "2 of our bots poll",
    "run one bot, or set TELEGRAM_UPDATES=webhook",
)
async def two_bots(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats("bot", "bot", "webhook", "worker")
    yield


@misconfiguration(
    "another program has set a webhook while our bot polls",
    "Telegram: webhook",
    "https://foreign.example, so they cannot be polled",
    "stop the other program",
)
async def foreign_webhook(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.product.telegram.updates.webhook = Webhook(
        "https://foreign.example/bot/secret-path", None, 40
    )
    yield


@misconfiguration(
    "a webhook is still set while our bot does not run",
    "Telegram: webhook",
    "so they cannot be polled",
    "the bot removes it when it starts",
    result=CheckResult.WARNING,
    also=["processes: running"],
)
async def webhook_from_before(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    await doctor_fixture.heartbeats()
    doctor_fixture.product.telegram.updates.webhook = Webhook("https://stems.example/telegram", None, 40)
    yield


@misconfiguration(
    "`TELEGRAM_UPDATES=webhook`, and it is set elsewhere",
    "Telegram: webhook",
    "it is set to https://foreign.example, not to this webhook",
    "stop the other program",
)
async def webhook_elsewhere(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["TELEGRAM_UPDATES"] = "webhook"
    doctor_fixture.product.telegram.updates.webhook = Webhook("https://foreign.example/", None, 40)
    yield


@misconfiguration(
    "Telegram cannot deliver to our webhook",
    "Telegram: webhook",
    "Telegram cannot deliver: Connection refused",
    "correct what is wrong with the public address",
)
async def undeliverable(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["TELEGRAM_UPDATES"] = "webhook"
    telegram = doctor_fixture.product.telegram
    updates = telegram.updates
    telegram.send_text(telegram.add_user("Alice").id, "hello")  # that waits
    updates.webhook = Webhook(f"{doctor_fixture.environ['PUBLIC_URL']}/telegram", None, 40)
    updates.last_error_date, updates.last_error_message = int(time.time()), "Connection refused"
    yield


@misconfiguration(
    "`TELEGRAM_LOCAL_MODE`, but the server runs without `--local`",
    "Telegram: files",
    "does not run with --local",
    "start the server with --local",
)
async def not_local(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["TELEGRAM_LOCAL_MODE"] = "true"
    yield


@misconfiguration(
    "a server with `--local` without `TELEGRAM_LOCAL_MODE`",
    "Telegram: files",
    "TELEGRAM_LOCAL_MODE is off",
    "set TELEGRAM_LOCAL_MODE=true",
)
async def unknown_local(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with local_server(doctor_fixture):
        yield


@misconfiguration(
    "a local server whose files are not on this machine",
    "Telegram: files",
    "do not exist on this machine",
    "mount its folder here under the same path",
)
async def unmounted(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["TELEGRAM_LOCAL_MODE"] = "true"
    async with local_server(doctor_fixture) as folder:
        folder.rename(folder.with_name("elsewhere"))
        yield
        shutil.rmtree(folder.with_name("elsewhere"))


@misconfiguration(
    "a local server whose files cannot be read here",
    "Telegram: files",
    "cannot be read",
    "mount its folder here under the same path, readable for stemdrop's user",
)
async def unreadable(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["TELEGRAM_LOCAL_MODE"] = "true"
    async with local_server(doctor_fixture) as folder:
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            path.unlink()
            path.symlink_to(path)  # which the disk refuses to open
        yield


async def poll_for_ever(doctor_fixture: DoctorFixture) -> None:
    """Poll like another program: a refused poll is repeated."""
    environ = doctor_fixture.environ
    url = f"{environ['TELEGRAM_API_URL']}/bot{environ['TELEGRAM_BOT_TOKEN']}/getUpdates"
    async with httpx.AsyncClient(timeout=WAIT_S, trust_env=False, verify=False) as http:
        while True:
            await http.post(url, json={"timeout": 50})
            await asyncio.sleep(0.01)


@asynccontextmanager
async def local_server(doctor_fixture: DoctorFixture) -> AsyncIterator[Path]:
    """Run a local Bot API server that knows a song; yields the folder of its files."""
    folder = doctor_fixture.folder / "local"
    telegram = Telegram(folder, local=True)
    await doctor_fixture.product.redis.delete("stemdrop:jobs:open")
    async with run_telegram(telegram) as url:
        doctor_fixture.environ |= {"TELEGRAM_API_URL": url, "TELEGRAM_BOT_TOKEN": telegram.token}
        await doctor_fixture.sends(telegram)
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@misconfiguration(
    "a running bot that does not handle its updates",
    "Telegram: pending updates",
    "51 updates wait at Telegram although the bot runs",
    "look at the bot's log",
    result=CheckResult.WARNING,
)
async def many_pending(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    telegram = doctor_fixture.product.telegram
    bob = telegram.add_user("Bob")
    for _ in range(51):
        telegram.send_text(bob.id, "hello?")
    yield


@misconfiguration(
    "Telegram breaks off its response",
    "Telegram: updates",
    "its response broke off",
    "look at its log",
)
async def broken_telegram(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    faults = doctor_fixture.product.telegram.faults
    faults.add(FaultKind.RESET_BEFORE, method="getWebhookInfo", times=None)
    yield
    faults.clear()

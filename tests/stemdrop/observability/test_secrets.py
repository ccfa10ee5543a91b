"""Secrets never show: not in objects, exceptions, settings errors, or the output of Python itself."""

import asyncio
import io
import logging
import os
import re
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from process_pool import ForkedProcess
from product import SECRET, Product
from provider import KEY
from redis import Redis
from redis.asyncio import ConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from telegram.error import InvalidToken
from telegram.ext import ExtBot
from waits import WAIT_S

from sandbox.environment.redis_server import RedisServer
from sandbox.environment.server import serve
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.telegram_files import TelegramFile, TelegramFiles
from stemdrop.domain.jobs import Job, Mode
from stemdrop.errors import ForgedRequest, SettingsError, StemdropError, StoreUnavailable
from stemdrop.http.signed_links import SignedLinks
from stemdrop.observability.logging import hidden, set_up_logging
from stemdrop.provider.fal.client import FalClient
from stemdrop.provider.interface import Order, Provider
from stemdrop.provider.lalal.client import LalalClient
from stemdrop.provider.stemsplit.client import StemSplitClient
from stemdrop.provider.sunoapi.client import SeparationClient
from stemdrop.settings import Settings, load_settings
from stemdrop.storage.connection import connect, translated
from stemdrop.tasks.engine import Engine, Task
from webhook.app import create_app

HMAC = "a-key-of-the-provider"
STEMSPLIT_KEY, STEMSPLIT_SECRET = "sk_live_for-these-tests", "whsec_for-these-tests"
PRESIGNED = "a-signature-of-a-storage"
PACKAGES = ("stemdrop", "bot", "webhook", "worker")


@pytest.fixture
def product_options() -> dict[str, Any]:
    return {
        "CALLBACK_HMAC_KEY": HMAC,
        "LALAL_API_KEY": KEY,
        "STEMSPLIT_API_KEY": STEMSPLIT_KEY,
        "STEMSPLIT_WEBHOOK_SECRET": STEMSPLIT_SECRET,
    }


def secrets_of(settings: Settings) -> set[str]:
    """Return all secrets, read from where they are used and not from `settings.secrets`."""
    token = settings.telegram_bot_token.get_secret_value()
    password = urlsplit(settings.redis_url).password
    assert password
    provider_secrets = {KEY, HMAC, STEMSPLIT_KEY, STEMSPLIT_SECRET, PRESIGNED}
    return {token, token.partition(":")[2], password, SECRET, *provider_secrets}


def assert_none(text: str, secrets: set[str]) -> None:
    spelled = {form for secret in secrets for form in (secret, quote(secret, safe=""))}
    assert not [form for form in spelled if form in text], text


# Objects


def shown(thing: object, depth: int = 4) -> Iterator[str]:
    """Yield `repr` and `str` of an object and, if it is ours, of everything that it holds."""
    yield f"{thing!r} {[thing]!r}" if isinstance(thing, str) else f"{thing!r} {thing}"
    if type(thing).__module__.partition(".")[0] in PACKAGES and hasattr(thing, "__dict__") and depth:
        for value in vars(thing).values():
            # a library's object is checked by its `repr` only, also where its class is derived from theirs
            yield from shown(value, 0 if isinstance(value, ExtBot | ConnectionPool) else depth - 1)


async def test_no_object_shows_a_secret(product: Product, redis_server: RedisServer) -> None:
    secrets = secrets_of(product.settings)
    app = create_app(product)
    application = product.application()
    handlers = [handler for group in application.handlers.values() for handler in group]
    parts: dict[str, object] = {
        **vars(product),
        "webhook": app,
        "routes": list(app.routes),
        "application": application,
        "callbacks": [handler.callback for handler in handlers],
        "updater": application.update_queue,
        "submission": product.submission(),
        "sweep": product.recovery(),
        "file": TelegramFile(1, None, f"https://api.example/file/bot{product.bot.token}/music/1.mp3"),
        "redis server": redis_server,
        "pool": f"{product.redis.connection_pool!r}",
        "http": product.files._http,
        "request": product.bot.request,
    }
    for name, part in parts.items():
        for text in shown(part):
            assert not [secret for secret in secrets if secret in text], name
    assert_none(repr(product), secrets)
    assert_none(repr(product.settings.model_dump()), secrets)


def test_a_password_in_an_address_does_not_show() -> None:
    settings = load_settings(
        {
            "TELEGRAM_BOT_TOKEN": "7000000001:AAabc",
            "SEPARATION_API_KEY": KEY,
            "SECRET_KEY": SECRET,
            "TELEGRAM_API_URL": "https://me:pass%2Fword-1@bots.example/api/",
            "SEPARATION_API_URL": "https://me:password-2@api.example",
            "SEPARATION_UPLOAD_URL": "https://me:password-3@upload.example",
            "HTTPS_PROXY": "http://me:password-4@proxy.example:3128",
            "REDIS_URL": "rediss://me@redis.example:1/0?password=password-5&ssl_password=password-6",
        }
    )
    assert settings.telegram_api_url == "https://me:pass%2Fword-1@bots.example/api"
    words = ["pass%2Fword-1", "pass/word-1", *(f"password-{number}" for number in range(2, 7))]
    assert {*words, "bWU6cGFzcy93b3JkLTE="} <= set(settings.secrets)
    for text in (repr(settings), str(settings), repr(settings.model_dump()), repr(vars(settings))):
        assert not [word for word in words if word in text], text
        assert "bots.example/api" in text


def test_the_documentation_says_how_to_change_each_secret() -> None:
    text = (Path(__file__).parents[3] / "SECURITY.md").read_text("utf-8")
    secret = [name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in repr(field)]
    assert len(secret) == 9
    assert [name for name in secret if f"\n| `{name}` |" not in text] == []


# Exceptions


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the exception, its causes and contexts, also those that a traceback omits."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def logged(errors: Mapping[BaseException, str], settings: Settings, form: str) -> str:
    """Return everything about the exceptions, each with its traceback, as the log writes it."""
    stream, root, log = io.StringIO(), logging.getLogger(), logging.getLogger("stemdrop.test")
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        set_up_logging("DEBUG", form, settings.secrets, stream)
        for error, text in errors.items():
            for one in chain(error):
                log.error("failed: %s, %r, %s", one, one, one.args)
            log.debug("failed", exc_info=error)
            log.debug("%s", text)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    return stream.getvalue()


def assert_silent(errors: Iterable[BaseException], settings: Settings) -> None:
    """Check that neither the log nor our own exceptions show a secret."""
    secrets, errors = secrets_of(settings), list(errors)
    for error in errors:
        for one in chain(error):
            if isinstance(one, StemdropError):  # our own texts hold no secret even without the formatter
                assert_none(f"{one} {one!r} {one.args!r} {vars(one)!r}", secrets)
    # once for both forms, since it takes long
    traces = {error: "".join(traceback.format_exception(error)) for error in errors}
    for form in ("console", "json"):
        text = logged(traces, settings, form)
        assert text.count("Traceback (most recent call last)") >= 2 * len(errors)
        assert_none(text, secrets)


Call = Callable[[], Awaitable[object]]


def echo_server() -> Starlette:
    """Build a server that repeats the path and the header with the key, in the form that the path names."""

    async def repeat(request: Request) -> Response:
        form = request.path_params["form"]
        keys = [request.headers.get(name) for name in ("authorization", "x-license-key")]
        said = f"what about {request.url.path} with {keys}?"
        if form == "redirect":
            return RedirectResponse(f"/404{request.url.path}")
        if form == "no json":
            return PlainTextResponse(said)
        if form == "presigned":
            url = f"{request.base_url!s}400/storage?X-Amz-Signature={PRESIGNED}"
            return JSONResponse({"uploadUrl": url, "uploadKey": "a-key"})
        if form == "other json":
            return JSONResponse({"code": 200, "ok": True, "data": said, "result": said})
        status = int(form)
        body: dict[str, object] = {"ok": False, "error_code": status, "description": said}
        body |= {"code": status, "msg": said, "error": {"code": "ODD", "message": said}, "detail": said}
        return JSONResponse(body, 200 if status == 422 else status)

    return Starlette(routes=[Route("/{form}/{path:path}", repeat, methods=["GET", "POST", "PUT"])])


FORMS = [
    *("400", "401", "403", "404", "409", "422", "500", "502"),
    *("no json", "other json", "presigned", "redirect"),
]


def calls(bot: ExtBot[float], http: httpx.AsyncClient, url: str) -> dict[str, Call]:
    """Return every call that the product makes to Telegram and to the providers."""
    files = TelegramFiles(bot, http)
    providers: list[Provider] = [
        SeparationClient(http, url, url, KEY),
        FalClient(http, url, KEY),
        LalalClient(http, url, KEY),
        StemSplitClient(http, url, STEMSPLIT_KEY, webhook_secret=STEMSPLIT_SECRET),
    ]

    async def content() -> AsyncIterator[bytes]:
        yield b"sound"

    async def read() -> None:
        file = TelegramFile(1, None, f"{url}/file/bot{bot.token}/music/1.mp3")
        async with files.open(file) as chunks:
            _ = [chunk async for chunk in chunks]

    order = Order(call_id="a", source="https://a", is_uploaded=False, mode=Mode.SPLIT_STEM)
    return {
        "getMe": bot.get_me,
        "getUpdates": lambda: bot.get_updates(timeout=0),
        "sendMessage": lambda: bot.send_message(1, "hello"),
        "setWebhook": lambda: bot.set_webhook("https://stems.example/telegram"),
        "getFile": lambda: files.find("a-file"),
        "download": read,
        **{f"{it.name} create": partial(it.create, order) for it in providers},
        **{f"{it.name} detail": partial(it.fetch, "a-task") for it in providers},
        **{f"{it.name} credits": it.balance for it in providers if it.capabilities.has_balance},
        **{f"{it.name} upload": lambda it=it: it.upload("audio.mp3", content(), 5) for it in providers},
    }


async def asked(product: Product, http: httpx.AsyncClient, url: str) -> list[Exception]:
    """Call everything at `url`, as if it were Telegram and the provider; returns the exceptions."""
    product.bot._base_url = f"{url}/bot{product.bot.token}"
    errors: list[Exception] = []
    for call in calls(product.bot, http, url).values():
        try:
            await call()
        except Exception as error:
            errors.append(error)
    return errors


async def test_errors_of_servers_that_echo_the_request_hide_secrets(product: Product) -> None:
    errors: list[Exception] = []
    async with serve(echo_server()) as url, httpx.AsyncClient(trust_env=False, verify=False) as http:
        for form in FORMS:
            failed = await asked(product, http, f"{url}/{form}")
            assert len(failed) >= (2 if form == "other json" else 14), form
            errors += failed
    assert_silent(errors, product.settings)


async def test_errors_of_servers_that_do_not_answer_hide_secrets(product: Product) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    urls = ["http://127.0.0.1:9", f"http://127.0.0.1:{port}", "http://no such host", "ftp://127.0.0.1"]
    errors: list[Exception] = []
    async with server, httpx.AsyncClient(trust_env=False, verify=False) as http:
        for url in urls:
            failed = await asked(product, http, url)
            assert len(failed) == len(calls(product.bot, http, url))
            errors += failed
    assert_silent(errors, product.settings)


def with_password(redis_url: str, password: str) -> str:
    return redis_url.replace(urlsplit(redis_url).password or "", password)


async def test_redis_errors_hide_secrets(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemdrop.tasks.engine.ADD_TIMEOUT_S", 0.1)
    url = product.settings.redis_url
    password = urlsplit(url).password or ""
    wrong = with_password(url, f"{password}-not")
    away = url.replace(str(urlsplit(url).port), "9")
    found: list[BaseException] = []
    for other in (wrong, away):
        async with connect(other) as redis:
            with pytest.raises(StoreUnavailable) as met, translated():
                await redis.ping()
            found.append(met.value)
        with pytest.raises(Exception, match=r".") as engine_met:
            async with Engine(other) as engine:
                await engine.add(Task.SUBMIT, "job", "job")
        found.append(engine_met.value)
    with Redis.from_url(url) as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreUnavailable) as met:
                await product.store.ping()
        finally:
            client.config_set("maxmemory", 0)
    assert_silent([*found, met.value], product.settings)


async def test_errors_about_forged_links_hide_secrets(product: Product) -> None:
    token = urlsplit(product.links.callback_url("job", 1)).path.rpartition("/")[2]
    for forged in (SECRET, f"{token}x", token.replace(".", ""), product.links.updates_secret):
        with pytest.raises(ForgedRequest) as met:
            product.links.read_callback(forged)
        assert_silent([met.value], product.settings)


VALID = {"TELEGRAM_BOT_TOKEN": "7000000001:AAabc", "SEPARATION_API_KEY": KEY, "SECRET_KEY": SECRET}
WORD = "Pass-Word1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TELEGRAM_BOT_TOKEN", WORD),
        ("SEPARATION_API_KEY", f"{WORD} ü"),
        ("SEPARATION_API_KEY", f"{WORD}\nX-Other: 1"),
        *(
            (name, value)
            for name in ("TELEGRAM_API_URL", "SEPARATION_API_URL", "SEPARATION_UPLOAD_URL", "PUBLIC_URL")
            for value in (
                f"https://me:{WORD}/x@host",
                f"https://me:{WORD}@[host",
                f"https://me:{WORD}\u2100@host",
                f"{WORD}@host",
                f"https://me:{WORD}@host?a=b",
            )
        ),
        *(
            ("REDIS_URL", value)
            for value in (
                f"redis://:{WORD}/x@host",
                f"redis://:{WORD}@[host",
                f"redis://:{WORD}\u2100@host",
                f"redis://:{WORD}@host?db=x",
                f"http://:{WORD}@host",
            )
        ),
        ("LISTEN_PORT", WORD),
        ("ADMINS", WORD),
        ("LOG_LEVEL", WORD),
    ],
)
def test_the_error_about_a_wrong_setting_does_not_repeat_its_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as met:
        load_settings({**VALID, name: value})
    for one in chain(met.value):
        assert WORD not in f"{one} {one!r}"
    assert WORD not in "".join(traceback.format_exception(met.value))


# Standard error


def test_other_spellings_of_a_secret_are_hidden() -> None:
    secret = 'se"cr\\et/ü &1'
    for spelled in (
        secret,
        quote(secret),
        quote(secret, safe=""),
        repr(secret),
        repr(secret.encode()),
        repr({"a": [secret]}),
        str(UnicodeEncodeError("ascii", secret, 0, 1, "why").args),
        str(Response(secret).body),
    ):
        text = hidden(f"<{spelled}>", [secret])
        assert "***" in text
        for part in ("se", "cr", "et", "&1"):
            assert part not in text.replace("ascii", "").replace("set", ""), text


def test_the_longer_of_two_secrets_is_hidden_completely() -> None:
    assert hidden("abcdefgh and abcdef", ["abcdef", "abcdefgh"]) == "*** and ***"
    assert hidden("nothing", []) == "nothing"
    assert hidden("nothing", [""]) == "nothing"


def test_tokens_of_our_links_are_hidden() -> None:
    """With such a token anyone could fetch the song or answer in the provider's place."""
    links = SignedLinks(SECRET, "https://stems.example/bot")
    source, callback = links.source_url(Job.new_id(), ".mp3"), links.callback_url(Job.new_id(), 17)
    assert hidden(f"could not fetch {source}, told {callback}", []) == (
        "could not fetch https://stems.example/bot/source/***/audio.mp3, "
        "told https://stems.example/bot/callback/***"
    )
    other = links.callback_url(Job.new_id(), -17, "stemsplit")
    for written in (other, quote(other, safe="")):
        assert re.search(r"callback(/|%2F)stemsplit(/|%2F)\*{3}$", hidden(written, []))
    assert hidden("POST /callback/{token} → 403", []) == "POST /callback/{token} → 403"


TOKEN = "7000000001:AAabcdefghijklmnopqrstuvwxyz"
CRASHES = """
import asyncio, gc, logging, os, sys, threading, warnings
from stemdrop.observability.logging import log_crashes, set_up_logging

token = os.environ["TOKEN"]
set_up_logging("DEBUG", sys.argv[1], [token])
log_crashes()

def crash(where):
    raise RuntimeError(f"{where}: {token}")

class Fragile:
    def __del__(self):
        crash("in a finalizer")

class Unwritable:
    def __str__(self):
        crash("while written")

warnings.warn(f"a warning: {token}")
logging.getLogger("a").error("too many arguments", token)
logging.getLogger("a").error("%s %s", Unwritable(), token)
thread = threading.Thread(target=crash, args=("in a thread",))
thread.start()
thread.join()
Fragile()

async def lose():
    async def task():
        crash("in a task")
    running = asyncio.create_task(task())
    await asyncio.wait({running})
    asyncio.get_running_loop().call_soon(crash, "in a callback")
    await asyncio.sleep(0)

asyncio.run(lose(), debug=True)
gc.collect()
try:
    crash("at first")
except RuntimeError:
    raise ExceptionGroup("at last", [ValueError(f"at last: {token}")])
"""


def test_warnings_and_uncaught_exceptions_are_logged_without_secrets(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    ended = subprocess.run(
        [sys.executable, "-c", CRASHES, "console"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": root, "TOKEN": TOKEN},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert ended.returncode == 1
    for text in (
        *("a warning", "in a thread", "in a finalizer", "in a task", "in a callback", "at first", "at last"),
        *("is not written: TypeError", "is not written: RuntimeError"),
    ):
        assert text in ended.stderr
    assert ended.stderr.count("***") >= 7
    assert TOKEN not in ended.stderr + ended.stdout
    assert TOKEN.partition(":")[2] not in ended.stderr + ended.stdout


async def test_a_command_that_crashes_or_is_refused_hides_secrets(
    tmp_path: Path, redis_url: str, telegram: Telegram
) -> None:
    """This Telegram repeats the token in its error descriptions."""

    async def answer(request: Request) -> Response:
        token, _, method = request.path_params["call"].partition("/")
        if method == "getMe" and request.path_params["where"] == "hook":
            return JSONResponse({"ok": True, "result": {"id": 1, "is_bot": True, "first_name": "Bot"}})
        if method in ("getMe", "setWebhook"):
            said = {"ok": False, "error_code": 400, "description": f"what is {token}?"}
            return JSONResponse(said, 400)
        return JSONResponse({"ok": True, "result": True})

    app = Starlette(routes=[Route("/{where}/{call:path}", answer, methods=["POST"])])
    ended: dict[str, tuple[int, str]] = {}
    async with serve(app) as url:
        environment = {
            "TELEGRAM_BOT_TOKEN": telegram.token,
            "SEPARATION_API_KEY": KEY,
            "SECRET_KEY": SECRET,
            "CALLBACK_HMAC_KEY": HMAC,
            "REDIS_URL": redis_url,
            "PUBLIC_URL": "https://stems.example",
            "TELEGRAM_UPDATES": "webhook",
            "LOG_LEVEL": "DEBUG",
        }

        async def run(where: str, **changes: str) -> None:
            settings = {**environment, "TELEGRAM_API_URL": f"{url}/{where}", **changes}
            process = ForkedProcess(["bot"], settings, tmp_path / where, cwd=tmp_path)
            process.start()
            ended[where] = await process.wait(200), process.output()

        await asyncio.gather(run("crash"), run("hook", SECRET_KEY="no key"))
    secrets = secrets_of(load_settings(environment))
    code, output = ended["crash"]
    assert code == 1
    assert output.count("stopped by an unexpected error") == 1
    assert "SECRET_KEY" not in output
    assert "BadRequest: what is bot7" in output
    assert ":***?" in output
    assert_none(output, secrets)
    code, output = ended["hook"]
    assert code == 2
    assert "WARNING stemdrop.serve: SECRET_KEY is short" in output
    assert_none(output, {"no key"})
    assert "stemdrop: PUBLIC_URL: Telegram refuses it for its updates: what is bot" in output
    assert_none(output, secrets)


def test_the_libraries_do_show_the_token() -> None:
    """Otherwise the tests above would pass without our formatter."""
    assert TOKEN in str(InvalidToken(f"The token `{TOKEN}` was rejected by the server."))
    assert TOKEN in repr(ExtBot(TOKEN))

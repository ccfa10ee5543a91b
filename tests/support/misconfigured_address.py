"""Misconfigurations of the public address that need no DNS name; `outside.py` has the others."""

import asyncio
import gzip
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from doctor_fixture import DoctorFixture
from misconfiguration import everywhere, misconfiguration
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.environment.server import serve
from sandbox.telegram.updates import Webhook
from stemdrop.doctor.report import CheckResult
from stemdrop.storage.connection import connect
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.probes import Probes
from webhook.app import create_app
from webhook.mixer.app import open_segments

# Only for a server that never answers.
SHORT_TIMEOUT_S = 1.0


@misconfiguration(
    "nothing listens at `PUBLIC_URL`'s port",
    "public address: connection",
    "nothing listens there",
    "start the proxy, or let",
)
async def nothing_listens(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["PUBLIC_URL"] = "https://127.0.0.1:9"
    yield


@misconfiguration(
    "a port that accepts connections and sends nothing",
    "public address: certificate",
    "sends nothing",
    "look at the proxy's log",
)
async def silent_port(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.timeouts = replace(doctor_fixture.timeouts, connect_s=SHORT_TIMEOUT_S)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        doctor_fixture.environ["PUBLIC_URL"] = f"https://127.0.0.1:{silent.getsockname()[1]}"
        yield


@misconfiguration(
    "`https://` to a port that speaks HTTP",
    "public address: certificate",
    "does not speak TLS",
    "let the proxy speak TLS",
)
async def no_tls(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with serve(doctor_fixture.webhook()) as url:
        doctor_fixture.environ["PUBLIC_URL"] = url.replace("http:", "https:")
        yield


def certified(name: str, text: str, found: str, advice: str, result: CheckResult = CheckResult.WRONG) -> None:
    """Register a misconfiguration in which the webhook has a wrong certificate."""

    @misconfiguration(text, "public address: certificate", found, advice, result=result)
    async def show(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
        async with doctor_fixture.behind(doctor_fixture.webhook(), name):
            yield


certified("expired", "an expired certificate", "has expired", "renew the certificate")
certified("soon", "a certificate that expires in 5 days", "4 more days", "renew it now", CheckResult.WARNING)
certified(
    "self-signed",
    "a self-signed certificate",
    "self-signed certificate",
    "use a certificate of a public authority",
)
certified(
    "foreign",
    "a certificate of an unknown authority",
    "unable to get local issuer certificate",
    "use a certificate of a public authority",
)
certified(
    "wrong name",
    "a certificate for another name",
    "IP address mismatch",
    "write the name in PUBLIC_URL that the certificate is for",
)


@misconfiguration(
    "a server that never answers",
    "public address: webhook",
    "did not answer within",
    "find out what delays the proxy or the webhook",
)
async def never_answers(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.timeouts = replace(doctor_fixture.timeouts, callback_s=SHORT_TIMEOUT_S)

    is_over = asyncio.Event()

    async def wait(_: Request) -> Response:
        await is_over.wait()
        return Response()

    async with doctor_fixture.behind(everywhere(wait)):
        yield
        is_over.set()


def answered(text: str, found: str, advice: str, answer: Callable[[Request], Response]) -> None:
    """Register a misconfiguration in which another server gives this answer."""

    @misconfiguration(text, "public address: webhook", found, advice)
    async def show(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
        async with doctor_fixture.behind(everywhere(answer)):
            yield


_PASS_ON = "let the proxy forward /callback, /source, /probe, /mixer and /telegram"
answered(
    "another web server answers",
    "does not know this path: HTTP 404, a page “404 Not Found”",
    _PASS_ON,
    lambda _: HTMLResponse("<title>404 Not Found</title>", 404, {"Server": "nginx"}),
)
answered(
    "a proxy that cannot reach the webhook",
    "it cannot reach the webhook: HTTP 502",
    "start the webhook; if it runs, correct the proxy",
    lambda _: HTMLResponse("<title>502 Bad Gateway</title>", 502),
)
answered(
    "a redirect to another address",
    "it redirects to https://www.example (HTTP 301)",
    "write the final address in PUBLIC_URL",
    lambda _: RedirectResponse("https://www.example/x", 301),
)
answered(
    "a redirect to a host whose name is invalid",
    "it redirects to a host whose name is invalid",
    "is it the right server?",
    lambda _: Response(status_code=302, headers={"Location": "https://xn--.example/"}),
)
answered(
    "a login page",
    "a page “Sign in”",
    "point the name and the proxy to this webhook",
    lambda _: HTMLResponse("<title>Sign in</title>"),
)
answered(
    "a response without an end",
    "its response does not end",
    "is it the right server?",
    lambda _: Response(bytes(300_000)),
)
answered(
    "a server that requires a login",
    "a login or a filter blocks",
    "exempt /callback",
    lambda _: Response(status_code=401),
)
answered(
    "a proxy that allows only GET",
    "POST is not allowed",
    "let the proxy forward POST",
    lambda _: Response(status_code=405, headers={"Allow": "GET"}),
)


@misconfiguration(
    "a webhook with another `SECRET_KEY`",
    "public address: webhook",
    "another SECRET_KEY",
    "give all processes the same SECRET_KEY",
)
async def another_key(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with doctor_fixture.behind(doctor_fixture.webhook(secret_key=SecretStr("another-key-of-sixteen"))):
        yield


@misconfiguration(
    "a webhook with another Redis",
    "public address: webhook",
    "another Redis",
    "give all processes the same REDIS_URL",
)
async def another_redis(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with webhook_at(doctor_fixture, re.sub(r"/0$", "/1", doctor_fixture.environ["REDIS_URL"])):
        yield


@misconfiguration(
    "a webhook that does not reach its Redis",
    "public address: webhook",
    "it cannot reach Redis",
    "look at the webhook's log",
)
async def webhook_without_redis(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with webhook_at(doctor_fixture, "redis://127.0.0.1:9/0"):
        yield


@asynccontextmanager
async def webhook_at(doctor_fixture: DoctorFixture, redis_url: str) -> AsyncIterator[None]:
    """Point PUBLIC_URL to a webhook with the Redis at `redis_url`."""
    product = doctor_fixture.product
    async with connect(redis_url) as redis:
        changed = product.changed(store=JobStore(redis), probes=Probes(redis))
        app = create_app(changed, segments=open_segments(changed))
        async with doctor_fixture.behind(app):
            yield


@misconfiguration(
    "a proxy that drops request bodies",
    "public address: webhook",
    "does not receive the body as it was sent",
    "let the proxy forward bodies unchanged",
)
async def bodies_lost(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    webhook = doctor_fixture.webhook()

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        async def nothing() -> Message:
            await receive()
            return {"type": "http.request", "body": b"", "more_body": False}

        await webhook(scope, nothing, send)

    async with doctor_fixture.behind(over_http(proxy)):
        yield


@misconfiguration(
    "a proxy without `/callback`",
    "public address: callback",
    "does not reach the webhook: HTTP 404",
    _PASS_ON,
)
async def no_callback_path(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with doctor_fixture.behind(without(doctor_fixture.webhook(), "/callback")):
        yield


@misconfiguration(
    "a proxy without `/source`",
    "public address: source",
    "requests for /source do not reach the webhook",
    _PASS_ON,
)
async def no_source_path(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with doctor_fixture.behind(without(doctor_fixture.webhook(), "/source")):
        yield


@misconfiguration(
    "a proxy without `/mixer`",
    "public address: mixer",
    "a forged request does not reach the webhook: HTTP 404",
    _PASS_ON,
)
async def no_mixer_path(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    async with doctor_fixture.behind(without(doctor_fixture.webhook(), "/mixer")):
        yield


@misconfiguration(
    "a proxy without `/telegram`, with `TELEGRAM_UPDATES=webhook`",
    "public address: updates",
    "does not reach the webhook: HTTP 404",
    _PASS_ON,
)
async def no_telegram_path(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    doctor_fixture.environ["TELEGRAM_UPDATES"] = "webhook"
    async with doctor_fixture.behind(without(doctor_fixture.webhook(), "/telegram")):
        doctor_fixture.product.telegram.updates.webhook = Webhook(
            f"{doctor_fixture.environ['PUBLIC_URL']}/telegram", None, 40
        )
        yield


_UNCHANGED = "let the proxy forward responses unchanged"


@misconfiguration(
    "a proxy that compresses sources", "public address: source", "the proxy compresses it (gzip)", _UNCHANGED
)
async def compressed(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    webhook = doctor_fixture.webhook()

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        head: Message = {}

        async def compress(message: Message) -> None:
            if message["type"] == "http.response.start":
                head.update(message)
                return
            body = gzip.compress(message["body"])
            cached = [(name, value) for name, value in head["headers"] if name != b"content-length"]
            await send({**head, "headers": [*cached, (b"content-encoding", b"gzip")]})
            await send({**message, "body": body})

        is_probe = scope["method"] == "GET" and scope["path"].startswith("/probe")
        await webhook(scope, receive, compress if is_probe else send)

    async with doctor_fixture.behind(over_http(proxy)):
        yield


@misconfiguration(
    "a proxy that removes the Range header", "public address: source", "the whole file arrives", _UNCHANGED
)
async def no_ranges(doctor_fixture: DoctorFixture) -> AsyncIterator[None]:
    webhook = doctor_fixture.webhook()

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await webhook({**scope, "headers": headers}, receive, send)

    async with doctor_fixture.behind(over_http(proxy)):
        yield


def without(app: ASGIApp, path: str) -> ASGIApp:
    """Return a proxy before `app` that does not forward this path."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        is_known = not scope["path"].startswith(path)
        await (app if is_known else JSONResponse({"error": "no such page"}, 404))(scope, receive, send)

    return over_http(proxy)


def over_http(proxy: ASGIApp) -> ASGIApp:
    """Return an application that handles HTTP and ignores the server's start and stop."""

    async def serve_http(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await proxy(scope, receive, send)

    return serve_http

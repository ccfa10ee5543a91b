"""How servers are asked, and in which words it is said why they do not answer."""

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from stemdrop.doctor.examination import Examination
from stemdrop.errors import StemdropError
from stemdrop.observability.printable_text import printable

# Nobody whom we ask has more to say.
MAX_ANSWER_BYTES = 256 * 1024

# Of OpenSSL (X509_V_ERR_…): what is wrong with a certificate.
_NOT_YET, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_IN_CHAIN = 9, 10, 18, 19
_NO_ISSUER, _NO_ISSUER_LOCALLY, _WRONG_NAME, _WRONG_ADDRESS = 21, 20, 62, 64
_CERTIFICATES = {
    _NOT_YET: "its certificate is not valid yet",
    _EXPIRED: "its certificate has expired",
    _SELF_SIGNED: "its certificate is signed by itself alone",
    _SELF_SIGNED_IN_CHAIN: "its certificate comes from an authority that nobody knows",
    _NO_ISSUER: "its certificate comes without the one between it and an authority",
    _NO_ISSUER_LOCALLY: "its certificate comes from nobody known, or without those between",
    _WRONG_NAME: "its certificate is for another name",
    _WRONG_ADDRESS: "its certificate is for another name or address",
}
_RENEW = "renew the certificate, or let a proxy do so by itself (Caddy does)"
_CHAIN = "use a certificate of a public authority, and serve its whole chain (certbot: `fullchain.pem`)"
_ADVICE = {
    _NOT_YET: "check the clocks of this machine and of the server",
    _EXPIRED: _RENEW,
    _WRONG_NAME: "get a certificate for exactly this name",
    _WRONG_ADDRESS: "write the name in PUBLIC_URL that the certificate is for",
}


class NoAnswer(StemdropError):
    """Why a server cannot be asked, as the end of a sentence, and what to do."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.advice = advice


def place(url: str) -> tuple[str, int]:
    """Host and port of an HTTP URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def shown(url: str) -> str:
    """An HTTP URL as anybody may read it: without path, user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


_ELSEWHERE = "correct it in the settings, or check this machine's way to the internet"


async def look_up(host: str, port: int, within_s: float, advice: str = _ELSEWHERE) -> list[str]:
    """The addresses of a name, which are at least one. Raises `NoAnswer`, with `advice` for no such name.

    In a thread that keeps nobody waiting: a lookup cannot be broken off, not even at the end of the program.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def finish(addresses: list[str], error: Exception | None) -> None:
        if found.done():
            return
        if error:
            found.set_exception(error)
        else:
            found.set_result(addresses)

    def look() -> None:
        addresses, problem = list[str](), None
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except (OSError, UnicodeError) as error:
            problem = error
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(finish, addresses, problem)

    threading.Thread(target=look, name="lookup", daemon=True).start()
    try:
        return await asyncio.wait_for(found, within_s)
    except TimeoutError:
        why = f"the name {host} was not looked up within {within_s:g} s"
        raise NoAnswer(why, "check this machine's DNS servers (/etc/resolv.conf)") from None
    except (OSError, UnicodeError) as error:
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
            why = f"no DNS server answers for {host}"
            raise NoAnswer(why, "check this machine's DNS servers (/etc/resolv.conf)") from error
        raise NoAnswer(f"the name {host} does not resolve", advice) from error


async def resolve(exam: Examination, url: str) -> None:
    """See that a server's name means something, unless a proxy is asked in our place. Raises `NoAnswer`."""
    host, port = place(url)
    if urlsplit(url).scheme not in getproxies() or proxy_bypass(host):
        await look_up(host, port, exam.patience.lookup_s)


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody answered, after so many seconds."""

    status: int
    url: httpx.URL
    headers: httpx.Headers
    body: bytes
    seconds: float

    @property
    def facts(self) -> dict[str, Any]:
        """Its JSON; empty where there is none, or another kind."""
        try:
            facts = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def field(self, name: str) -> str:
        """A text in its JSON; empty where there is none."""
        value = self.facts.get(name)
        return value if isinstance(value, str) else ""


async def answer_of(http: httpx.AsyncClient, method: str, url: str, **request: Any) -> Answer:
    """Ask, and read what is no more than a page. Raises `NoAnswer` for more, and as the library does."""
    began, body = time.perf_counter(), bytearray()
    async with http.stream(method, url, **request) as response:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise NoAnswer("its answer does not come to an end", "is it the right server?")
    seconds = time.perf_counter() - began
    return Answer(response.status_code, response.url, response.headers, bytes(body), seconds)


async def ask(exam: Examination, method: str, url: str, **request: object) -> Answer:
    """Ask a server. `timeout_s` is how long its answer is waited for. Raises `NoAnswer`."""
    patience = exam.patience
    await resolve(exam, url)
    timeout_s = float(str(request.pop("timeout_s", patience.answer_s)))
    timeout = httpx.Timeout(timeout_s, connect=patience.connect_s)
    try:
        async with asyncio.timeout(timeout_s + patience.connect_s):
            return await answer_of(exam.http, method, url, timeout=timeout, **request)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise no_answer(error, timeout_s) from error


def time_said(answer: httpx.Response) -> float | None:
    """How many seconds the clock of who has just answered is ahead of ours, if it says."""
    try:
        # it leaves out parts of a second
        return parsedate_to_datetime(answer.headers["date"]).timestamp() + 0.5 - time.time()
    except (KeyError, ValueError, TypeError):
        return None


def no_answer(error: BaseException, waited_s: float) -> NoAnswer:
    """What a failed request means."""
    if isinstance(error, httpx.ConnectTimeout):
        return NoAnswer("no connection comes about", "does a firewall keep this machine from it?")
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return NoAnswer(f"it takes connections but did not answer within {waited_s:g} s", "look at its log")
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NoAnswer(bad_certificate(cause), certificate_advice(cause))
        if isinstance(cause, ssl.SSLError):
            return NoAnswer("it does not speak TLS there", "correct the port, or `https` to `http`")
        if isinstance(cause, ConnectionRefusedError):
            return NoAnswer("it refuses connections", "is it running, and at this port?")
    if isinstance(error, httpx.ConnectError):
        return NoAnswer(
            "no connection comes about", "check this machine's way to it: network, firewall, proxy"
        )
    return NoAnswer(f"its answer broke off ({type(error).__name__})", "look at its log")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The libraries hide what happened behind exceptions of their own."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def bad_certificate(error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with it."""
    return _CERTIFICATES.get(error.verify_code, f"its certificate is refused ({error.verify_message})")


def certificate_advice(error: ssl.SSLCertVerificationError) -> str:
    """What to do about it."""
    return _ADVICE.get(error.verify_code, _CHAIN)


def words_of(text: str, most: int = 80) -> str:
    """Somebody's words, made fit to stand in a line."""
    words = printable(text)
    return words if len(words) <= most else f"{words[: most - 1]}…"

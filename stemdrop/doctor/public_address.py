"""PUBLIC_URL: whether the provider, and Telegram, reach this webhook through it.

The provider's own list for callbacks that do not come, in its order: the name, the firewall, the certificate,
an answer in time, path and method, a JSON body; then the source that it fetches.
"""

import asyncio
import errno
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from stemdrop.doctor.asking import (
    NoAnswer,
    bad_certificate,
    certificate_advice,
    look_up,
    place,
    shown,
)
from stemdrop.doctor.examination import Examination
from stemdrop.doctor.report import Notes
from stemdrop.doctor.through import examine_webhook
from stemdrop.http.public_addresses import is_public

EXPIRES_SOON_DAYS = 14
_DAY_S = 24 * 3600
# Where Telegram posts updates to (core.telegram.org/bots/api#setwebhook).
_TELEGRAM_PORTS = (443, 80, 88, 8443)
_NO_NAME = "correct it in PUBLIC_URL, or make its DNS entry"
_CHECKS = ("connection", "certificate", "webhook", "callback", "source")


async def examine_public_address(exam: Examination, notes: Notes) -> None:
    """All of it, from outside in as far as this machine can; what cannot be reached is not asked further."""
    if not exam.settings.public_url:
        notes.ok(
            "PUBLIC_URL", "empty, so nothing needs to reach this machine: sources are uploaded, jobs polled"
        )
        return
    await _Address(exam, notes).examine()


class _Address:
    def __init__(self, exam: Examination, notes: Notes) -> None:
        self._exam = exam
        self._notes = notes
        self._url = exam.settings.public_url
        self._host, self._port = place(self._url)
        self._is_tls = urlsplit(self._url).scheme == "https"
        self._patience = exam.patience

    async def examine(self) -> None:
        is_inside = await self._is_api_inside()
        self._form(is_inside=is_inside)
        addresses = await self._name(is_inside=is_inside)
        if not addresses:
            self._not_further("connection")
        elif not (reached := await self._connect(addresses)):
            self._not_further("certificate")
        else:
            trust = await self._certificate(reached) if self._is_tls else self._exam.trusted
            if trust is None:
                self._not_further("webhook")
            else:
                # not the environment's proxy: it is the way in that is asked for
                timeout = httpx.Timeout(self._patience.callback_s, connect=self._patience.connect_s)
                async with httpx.AsyncClient(verify=trust, trust_env=False, timeout=timeout) as http:
                    await examine_webhook(self._exam, self._notes, http)

    def _not_further(self, first: str) -> None:
        for check in _CHECKS[_CHECKS.index(first) :]:
            self._notes.unchecked(check, "it cannot be reached so far")

    async def _is_api_inside(self) -> bool:
        """Whether who calls back is on this network too (a separator of one's own): then all may be."""
        host, port = place(self._exam.settings.separation_api_url)
        try:
            addresses = await look_up(host, port, self._patience.lookup_s)
        except NoAnswer:
            return False
        return not any(map(is_public, addresses))

    def _form(self, *, is_inside: bool) -> None:
        settings, parts = self._exam.settings, urlsplit(self._url)
        is_for_telegram = (
            settings.telegram_updates == "webhook" and "api.telegram.org" in settings.telegram_api_url
        )
        if not self._is_tls and not is_inside:
            advice = "serve it over HTTPS, for example with Caddy, and write https:// in PUBLIC_URL"
            self._notes.wrong("PUBLIC_URL", f"{shown(self._url)} is not HTTPS", advice)
        elif is_for_telegram and self._port not in _TELEGRAM_PORTS:
            found = f"Telegram posts no updates to port {self._port}"
            advice = "use port 443, 80, 88 or 8443, or TELEGRAM_UPDATES=polling"
            self._notes.wrong("PUBLIC_URL", found, advice)
        elif parts.username or parts.password:
            advice = "leave user and password out: links are signed, and not every client sends them"
            self._notes.warning("PUBLIC_URL", f"{shown(self._url)} with a user or password", advice)
        else:
            path = " with a path, which the proxy must take away" if parts.path else ""
            self._notes.ok("PUBLIC_URL", f"{shown(self._url)}{path}")

    async def _name(self, *, is_inside: bool) -> list[str]:
        try:
            addresses = await look_up(self._host, self._port, self._patience.lookup_s, _NO_NAME)
        except NoAnswer as error:
            self._notes.wrong("DNS", str(error), error.advice)
            return []
        found = self._host if addresses == [self._host] else f"{self._host} is {', '.join(addresses)}"
        private = [address for address in addresses if not is_public(address)]
        if private and not is_inside and _is_own_name(self._host):
            advice = "look it up from elsewhere: there it must be this machine's address in the internet"
            self._notes.warning("DNS", f"{found}, by this machine's /etc/hosts", advice)
        elif private and not is_inside:
            advice = "let the name lead to the address that the internet knows this machine by"
            self._notes.wrong("DNS", f"{found}: {', '.join(private)} cannot be reached from outside", advice)
        else:
            self._notes.ok("DNS", f"{found}, on this network, as the API is" if private else found)
        return addresses

    async def _connect(self, addresses: list[str]) -> str:
        """The first of the addresses that takes connections; empty if none does."""
        outcomes = await asyncio.gather(*(self._try(address) for address in addresses))
        failed = {address: why for address, why in zip(addresses, outcomes, strict=True) if why}
        reached = [address for address in addresses if address not in failed]
        found = "; ".join(f"{address} port {self._port}: {why}" for address, why in failed.items())
        missing = [address for address, why in failed.items() if why != _NO_ROUTE]
        if not reached:
            self._notes.wrong("connection", found, self._way_in(set(failed.values())))
        elif missing:
            advice = "let every address of the name lead here, or take this one out of its DNS entry"
            self._notes.warning("connection", found, advice)
        else:
            there = f"port {self._port} takes connections"
            self._notes.ok("connection", f"{there} ({found})" if found else there)
        return reached[0] if reached else ""

    async def _try(self, address: str) -> str:
        """Why no connection comes about; empty if one does."""
        try:
            async with asyncio.timeout(self._patience.connect_s):
                _, writer = await asyncio.open_connection(address, self._port)
        except TimeoutError:
            return _SILENT
        except ConnectionRefusedError:
            return _REFUSED
        except OSError as error:
            is_elsewhere = error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
            return _NO_ROUTE if is_elsewhere else f"no connection ({error.strerror or type(error).__name__})"
        writer.transport.abort()
        return ""

    def _way_in(self, reasons: set[str]) -> str:
        if reasons == {_REFUSED}:
            webhook = "" if self._exam.present("webhook") else " and the webhook"
            return f"start the proxy{webhook}, or let router and firewall pass the port on to it"
        if reasons == {_NO_ROUTE}:
            return "this machine has no network of that kind; look from another one"
        return (
            "open the port in the firewall (the cloud has one of its own too), and pass it on in the router; "
            "some routers let nobody in who asks from inside: then look from a phone without wifi"
        )

    async def _certificate(self, address: str) -> ssl.SSLContext | None:
        """What to ask on with: where the certificate is wrong, without looking at it; `None` without TLS."""
        try:
            ends_at = await self._handshake(address)
        except ssl.SSLCertVerificationError as error:
            self._notes.wrong("certificate", bad_certificate(error), certificate_advice(error))
            return _trusting_everybody()
        except TimeoutError:
            advice = "look at the proxy's log: is it overloaded, or does something else listen there?"
            found = f"it takes connections and then says nothing for {self._patience.connect_s:g} s"
            self._notes.wrong("certificate", found, advice)
            return None
        except (OSError, EOFError):  # of which ssl.SSLError is one
            advice = "let the proxy speak TLS at this port, or correct the port"
            self._notes.wrong("certificate", f"port {self._port} does not speak TLS", advice)
            return None
        left_s = ends_at - time.time()
        found = f"for {self._host}, good for {_days(left_s)} more"
        if left_s < EXPIRES_SOON_DAYS * _DAY_S:
            advice = "renew it now, and find out why nothing has done so by itself"
            self._notes.warning("certificate", found, advice)
        else:
            self._notes.ok("certificate", found)
        return self._exam.trusted

    async def _handshake(self, address: str) -> float:
        """Until when the certificate is good, in Unix seconds."""
        async with asyncio.timeout(self._patience.connect_s):
            _, writer = await asyncio.open_connection(
                address, self._port, ssl=self._exam.trusted, server_hostname=self._host
            )
        certificate = writer.get_extra_info("peercert") or {}
        writer.transport.abort()
        return ssl.cert_time_to_seconds(str(certificate.get("notAfter")))


_SILENT, _REFUSED = "no answer, as if a firewall dropped it", "nothing listens there, or a firewall refuses"
_NO_ROUTE = "this machine has no way there"


def _is_own_name(host: str) -> bool:
    """Whether this machine says by itself what the name means, as many do with their own."""
    try:
        lines = Path("/etc/hosts").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(host.lower() in line.partition("#")[0].lower().split()[1:] for line in lines)


def _trusting_everybody() -> ssl.SSLContext:
    """For what is no secret: a probe serves once, and its answer proves itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _days(seconds: float) -> str:
    days = max(0, int(seconds // _DAY_S))
    return "1 day" if days == 1 else f"{days} days"

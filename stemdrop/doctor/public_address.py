"""Checks whether the provider and Telegram reach this webhook through PUBLIC_URL.

The checks follow the provider's own list for missing callbacks: DNS, firewall, certificate, a timely
response, path and method, a JSON body. The last check is for the source that the provider fetches.
"""

import asyncio
import errno
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from stemdrop.doctor.context import CheckContext
from stemdrop.doctor.report import SubjectReport
from stemdrop.doctor.server_requests import (
    ServerUnreachable,
    certificate_error,
    host_and_port,
    look_up,
    origin,
)
from stemdrop.doctor.webhook import check_webhook
from stemdrop.http.public_addresses import is_allowed

EXPIRES_SOON_DAYS = 14
_DAY_S = 24 * 3600
# The ports to which Telegram posts updates (core.telegram.org/bots/api#setwebhook).
_TELEGRAM_PORTS = (443, 80, 88, 8443)
_CHECKS = ("connection", "certificate", "webhook", "callback", "source")
_DROPPED, _REFUSED = "no answer, as if a firewall dropped it", "nothing listens there, or a firewall refuses"
_NO_ROUTE = "this machine has no route to it"


async def check_public_address(context: CheckContext, report: SubjectReport) -> None:
    """Check PUBLIC_URL step by step, as far as this machine can; the steps after a failed one are skipped."""
    if not context.settings.public_url:
        found = "empty, so nothing needs to reach this machine: sources are uploaded, results polled"
        report.ok("PUBLIC_URL", found)
        return
    await _AddressCheck(context, report).run()


class _AddressCheck:
    def __init__(self, context: CheckContext, report: SubjectReport) -> None:
        self._context = context
        self._report = report
        self._url = context.settings.public_url
        self._host, self._port = host_and_port(self._url)
        self._is_tls = urlsplit(self._url).scheme == "https"
        self._timeouts = context.timeouts

    async def run(self) -> None:
        is_inside = await self._is_api_inside()
        self._check_form(is_inside=is_inside)
        addresses = await self._check_dns(is_inside=is_inside)
        if not addresses:
            self._skip_from("connection")
            return
        if not (reached := await self._check_connection(addresses)):
            self._skip_from("certificate")
            return
        verify = await self._check_certificate(reached) if self._is_tls else self._context.trusted
        if verify is None:
            self._skip_from("webhook")
            return
        # without the environment's proxies, which are for outgoing requests: others reach us without them
        timeout = httpx.Timeout(self._timeouts.callback_s, connect=self._timeouts.connect_s)
        async with httpx.AsyncClient(verify=verify, trust_env=False, timeout=timeout) as http:
            await check_webhook(self._context, self._report, http)

    def _skip_from(self, first: str) -> None:
        for check in _CHECKS[_CHECKS.index(first) :]:
            self._report.unchecked(check, "it cannot be reached yet")

    async def _is_api_inside(self) -> bool:
        """Return whether the separation API is on this network too, so that PUBLIC_URL may be private."""
        host, port = host_and_port(self._context.settings.separation_api_url)
        try:
            addresses = await look_up(host, port, self._timeouts.lookup_s)
        except ServerUnreachable:
            return False
        # the made-up addresses of STEM_NETWORKS stand for public ones
        return not any(is_allowed(it, self._context.settings.stem_networks) for it in addresses)

    def _check_form(self, *, is_inside: bool) -> None:
        settings, parts = self._context.settings, urlsplit(self._url)
        is_for_telegram = (
            settings.telegram_updates == "webhook" and "api.telegram.org" in settings.telegram_api_url
        )
        if not self._is_tls and not is_inside:
            advice = "serve it over HTTPS, for example with Caddy, and write https:// in PUBLIC_URL"
            self._report.wrong("PUBLIC_URL", f"{origin(self._url)} is not HTTPS", advice)
        elif is_for_telegram and self._port not in _TELEGRAM_PORTS:
            advice = "use port 443, 80, 88 or 8443, or TELEGRAM_UPDATES=polling"
            self._report.wrong("PUBLIC_URL", f"Telegram posts no updates to port {self._port}", advice)
        else:
            path = " with a path, which the proxy must strip" if parts.path else ""
            self._report.ok("PUBLIC_URL", f"{origin(self._url)}{path}")

    async def _check_dns(self, *, is_inside: bool) -> list[str]:
        advice = "correct it in PUBLIC_URL, or create its DNS record"
        try:
            addresses = await look_up(self._host, self._port, self._timeouts.lookup_s, advice)
        except ServerUnreachable as error:
            self._report.wrong("DNS", str(error), error.advice)
            return []
        networks = self._context.settings.stem_networks
        found = self._host if addresses == [self._host] else f"{self._host} is {', '.join(addresses)}"
        private = [address for address in addresses if not is_allowed(address, networks)]
        if private and not is_inside and _is_in_hosts_file(self._host):
            advice = "look it up on another machine: there it must be this machine's public address"
            self._report.warning("DNS", f"{found}, from this machine's /etc/hosts", advice)
        elif private and not is_inside:
            found = f"{found}: {', '.join(private)} cannot be reached from outside"
            self._report.wrong("DNS", found, "point the name to this machine's public address")
        else:
            self._report.ok("DNS", f"{found}, on this network, like the API" if private else found)
        return addresses

    async def _check_connection(self, addresses: list[str]) -> str:
        """Return the first of the addresses that accepts connections; empty if none does."""
        errors = await asyncio.gather(*(self._connect(address) for address in addresses))
        failed = {address: error for address, error in zip(addresses, errors, strict=True) if error}
        reached = [address for address in addresses if address not in failed]
        found = "; ".join(f"{address} port {self._port}: {error}" for address, error in failed.items())
        if not reached:
            self._report.wrong("connection", found, self._connection_advice(set(failed.values())))
        elif set(failed.values()) - {_NO_ROUTE}:
            advice = "make every address of the name lead here, or remove this one from its DNS records"
            self._report.warning("connection", found, advice)
        else:
            accepts = f"port {self._port} accepts connections"
            self._report.ok("connection", f"{accepts} ({found})" if found else accepts)
        return reached[0] if reached else ""

    async def _connect(self, address: str) -> str:
        """Return why no connection can be made; empty if one can."""
        try:
            async with asyncio.timeout(self._timeouts.connect_s):
                _, writer = await asyncio.open_connection(address, self._port)
        except TimeoutError:
            return _DROPPED
        except ConnectionRefusedError:
            return _REFUSED
        except OSError as error:
            has_no_route = error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
            return _NO_ROUTE if has_no_route else f"no connection ({error.strerror or type(error).__name__})"
        writer.transport.abort()
        return ""

    def _connection_advice(self, errors: set[str]) -> str:
        if errors == {_REFUSED}:
            webhook = "" if self._context.processes("webhook") else " and the webhook"
            return f"start the proxy{webhook}, or let router and firewall forward the port to it"
        if errors == {_NO_ROUTE}:
            return "this machine has no such network; run the doctor on another one"
        return (
            "open the port in the firewall (a cloud has its own too), and forward it in the router; some "
            "routers refuse connections from inside: then try from a phone without Wi-Fi"
        )

    async def _check_certificate(self, address: str) -> ssl.SSLContext | bool | None:
        """Return the `verify` argument for further requests; None if the server does not speak TLS.

        The argument is False for a wrong certificate: a probe is no secret, and its response proves itself.
        """
        try:
            expires_at = await self._handshake(address)
        except ssl.SSLCertVerificationError as error:
            self._report.wrong("certificate", *certificate_error(error))
            return False
        except TimeoutError:
            advice = "look at the proxy's log: is it overloaded, or does another program listen there?"
            found = f"it accepts connections and then sends nothing for {self._timeouts.connect_s:g} s"
            self._report.wrong("certificate", found, advice)
            return None
        except (OSError, EOFError):  # ssl.SSLError is an OSError
            found = f"port {self._port} does not speak TLS"
            self._report.wrong("certificate", found, "let the proxy speak TLS, or correct the port")
            return None
        days = max(0, int((expires_at - time.time()) // _DAY_S))
        found = f"for {self._host}, valid for {days} more day{'' if days == 1 else 's'}"
        advice = "renew it now, and find out why it was not renewed automatically"
        self._report.rate("certificate", found, advice, warning=days < EXPIRES_SOON_DAYS)
        return self._context.trusted

    async def _handshake(self, address: str) -> float:
        """Return when the certificate expires, in Unix seconds."""
        async with asyncio.timeout(self._timeouts.connect_s):
            _, writer = await asyncio.open_connection(
                address, self._port, ssl=self._context.trusted, server_hostname=self._host
            )
        certificate = writer.get_extra_info("peercert") or {}
        writer.transport.abort()
        return ssl.cert_time_to_seconds(str(certificate.get("notAfter")))


def _is_in_hosts_file(host: str) -> bool:
    """Return whether /etc/hosts resolves the name, as it often does for a machine's own name."""
    try:
        lines = Path("/etc/hosts").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(host.lower() in line.partition("#")[0].lower().split()[1:] for line in lines)

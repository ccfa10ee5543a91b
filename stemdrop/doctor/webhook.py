"""Checks PUBLIC_URL with probes that only the right webhook can answer, and with requests it must refuse."""

import asyncio
import hmac
from typing import Any

import httpx

from stemdrop.doctor.context import CheckContext
from stemdrop.doctor.report import SubjectReport
from stemdrop.doctor.response_diagnosis import PASS_ON, damage, described, foreign_response
from stemdrop.doctor.server_requests import Response, ServerUnreachable, explained, response_of
from stemdrop.errors import StoreUnavailable
from stemdrop.storage.probes import UNKNOWN, Probes, content, proof

SLOW_S = 5
_RANGE = (1000, 3000)
_FORGED = "doctor-asks-whether-you-refuse-this"
_TOO_SLOW = "find out what delays the proxy or the webhook: the provider waits 15 s, and tries three times"
_UNCHANGED = "let the proxy forward responses unchanged: no compression, no rewriting, with ranges"


async def check_webhook(context: CheckContext, report: SubjectReport, http: httpx.AsyncClient) -> None:
    """Check that this webhook answers, and that requests and responses pass through unchanged."""
    await _WebhookCheck(context, report, http).run()


class _WebhookCheck:
    def __init__(self, context: CheckContext, report: SubjectReport, http: httpx.AsyncClient) -> None:
        self._context = context
        self._report = report
        self._http = http
        self._url = context.settings.public_url
        self._mixers = ("mixer",) if context.settings.mixer_url else ()

    async def run(self) -> None:
        probes = await self._create_probes()
        if not probes:
            for check in ("webhook", "callback", "source", *self._mixers):
                self._report.unchecked(check, "this needs Redis", "correct what is wrong with Redis first")
            return
        nonce, nonce_of_source = probes
        if not await self._probe(nonce):
            for check in ("callback", "source", *self._mixers):
                self._report.unchecked(check, "this webhook is not reached")
            return
        result = {"code": 200, "data": {"task_id": _FORGED}}
        checks = [self._refusal("callback", f"/callback/{_FORGED}", result), self._source(nonce_of_source)]
        if self._context.settings.telegram_updates == "webhook":
            checks.append(self._refusal("updates", "/telegram", result))
        mixer = {"init_data": _FORGED, "job": "0" * 16}
        checks += [self._refusal("mixer", "/mixer/open", mixer, "error") for _ in self._mixers]
        await asyncio.gather(*checks)

    async def _create_probes(self) -> tuple[str, str] | None:
        """Store two probes in Redis and return their nonces; None if that fails."""
        if self._context.heartbeats is None:  # Redis did not answer before
            return None
        probes = Probes(self._context.redis)
        try:
            return await probes.lay(), await probes.lay()
        except StoreUnavailable:
            return None

    async def _send(self, method: str, path: str, **request: object) -> Response:
        """Send a request. Raises `ServerUnreachable`."""
        timeout_s = self._context.timeouts.callback_s
        try:
            async with asyncio.timeout(timeout_s):
                return await response_of(self._http, method, f"{self._url}{path}", **request)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise explained(error, timeout_s) from error

    async def _probe(self, nonce: str) -> bool:
        try:
            response = await self._send(
                "POST", f"/probe/{nonce}", json={"nonce": nonce, "filler": "x" * 4000}
            )
        except ServerUnreachable as error:
            is_slow = isinstance(error.__cause__, httpx.TimeoutException | TimeoutError)
            self._report.wrong("webhook", str(error), _TOO_SLOW if is_slow else error.advice)
            return False
        key = self._context.settings.secret_key.get_secret_value()
        given = response.field("proof")
        if response.status == 200 and given:
            if hmac.compare_digest(given.encode(), proof(key, nonce).encode()):
                found = f"this webhook answers in {response.seconds * 1000:.0f} ms"
                self._report.rate("webhook", found, _TOO_SLOW, warning=response.seconds > SLOW_S)
                return True
            advice = "give all processes the same SECRET_KEY, and restart them"
            self._report.wrong("webhook", "a webhook with another SECRET_KEY answers", advice)
        elif response.field("detail") == UNKNOWN:
            advice = "give all processes the same REDIS_URL; or is it the address of another stemdrop?"
            self._report.wrong("webhook", "a webhook with another Redis answers", advice)
        else:
            self._report.wrong("webhook", *foreign_response(response))
        return False

    async def _refusal(self, check: str, path: str, body: Any, field: str = "detail") -> None:
        """Check that a forged request reaches the webhook, which refuses it with a reason in `field`."""
        try:
            response = await self._send("POST", path, json=body)
        except ServerUnreachable as error:
            self._report.wrong(check, str(error), PASS_ON)
            return
        if response.status == 403 and response.field(field):
            self._report.ok(check, "the webhook refuses a forged request")
        else:
            found = f"a forged request does not reach the webhook: {described(response)}"
            self._report.wrong(check, found, PASS_ON)

    async def _source(self, nonce: str) -> None:
        """Check that /source leads to the webhook, and that a range of a file arrives unchanged."""
        start, end = _RANGE
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "gzip, identity"}
        try:
            forged = await self._send("GET", f"/source/{_FORGED}/audio.mp3")
            response = await self._send("GET", f"/probe/{nonce}", headers=headers)
        except ServerUnreachable as error:
            self._report.wrong("source", str(error), PASS_ON)
            return
        if forged.status != 403 or not forged.field("detail"):
            found = f"requests for /source do not reach the webhook: {described(forged)}"
            self._report.wrong("source", found, PASS_ON)
        elif problem := damage(response, content(nonce), start, end):
            self._report.wrong("source", problem, _UNCHANGED)
        else:
            self._report.ok("source", "a range of it arrives unchanged")

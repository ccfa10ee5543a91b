"""Through PUBLIC_URL to the webhook: probes that only the right one can answer, and what it must refuse."""

import asyncio
import hmac

import httpx

from stemdrop.doctor.answers import PASS_ON, damage, described, somebody_else
from stemdrop.doctor.asking import Answer, NoAnswer, answer_of, no_answer
from stemdrop.doctor.examination import Examination
from stemdrop.doctor.report import Notes
from stemdrop.errors import StoreUnavailable
from stemdrop.storage.probes import UNKNOWN, Probes, content, proof

SLOW_S = 5
_RANGE = (1000, 3000)
_FORGED = "doctor-asks-whether-you-refuse-this"
_TOO_SLOW = "see what keeps proxy or webhook: the provider waits 15 s for an answer, and comes three times"
_DOORS = ("callback", "source")


async def examine_webhook(exam: Examination, notes: Notes, http: httpx.AsyncClient) -> None:
    """Is it this webhook that answers, and does everything come to it as it was sent?"""
    await _Way(exam, notes, http).examine()


class _Way:
    def __init__(self, exam: Examination, notes: Notes, http: httpx.AsyncClient) -> None:
        self._exam = exam
        self._notes = notes
        self._http = http
        self._url = exam.settings.public_url

    async def examine(self) -> None:
        probes = await self._lay()
        if not probes:
            for check in ("webhook", *_DOORS):
                self._notes.unchecked(check, "that needs Redis", "put Redis right first")
            return
        nonce, for_source = probes
        if not await self._webhook(nonce):
            for check in _DOORS:
                self._notes.unchecked(check, "this webhook is not reached")
            return
        await asyncio.gather(
            self._door("callback", f"/callback/{_FORGED}"),
            self._source(for_source),
            *([self._door("updates", "/telegram")] if self._is_pushed else []),
        )

    async def _lay(self) -> tuple[str, str] | None:
        """Two probes, unless Redis takes none."""
        if self._exam.heartbeats is None:  # it did not answer before
            return None
        probes = Probes(self._exam.redis)
        try:
            return await probes.lay(), await probes.lay()
        except StoreUnavailable:
            return None

    @property
    def _is_pushed(self) -> bool:
        return self._exam.settings.telegram_updates == "webhook"

    async def _ask(self, method: str, path: str, **request: object) -> Answer:
        """Raises `NoAnswer`."""
        limit_s = self._exam.patience.callback_s
        try:
            async with asyncio.timeout(limit_s):
                return await answer_of(self._http, method, f"{self._url}{path}", **request)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise no_answer(error, limit_s) from error

    async def _webhook(self, nonce: str) -> bool:
        """Whether it is this webhook that answers."""
        try:
            answer = await self._ask("POST", f"/probe/{nonce}", json={"nonce": nonce, "filler": "x" * 4000})
        except NoAnswer as error:
            is_slow = isinstance(error.__cause__, httpx.TimeoutException | TimeoutError)
            self._notes.wrong("webhook", str(error), _TOO_SLOW if is_slow else error.advice)
            return False
        key = self._exam.settings.secret_key.get_secret_value()
        given = answer.field("proof")
        if answer.status == 200 and given:
            if hmac.compare_digest(given.encode(), proof(key, nonce).encode()):
                self._reached(answer.seconds)
                return True
            advice = "give all processes the same SECRET_KEY, and start them anew"
            self._notes.wrong("webhook", "a webhook with another SECRET_KEY answers", advice)
        elif answer.field("detail") == UNKNOWN:
            advice = "give all processes the same REDIS_URL; or is it another stemdrop's address?"
            self._notes.wrong("webhook", "a webhook with another Redis answers", advice)
        else:
            self._notes.wrong("webhook", *somebody_else(answer))
        return False

    def _reached(self, seconds: float) -> None:
        found = f"this one answers, in {seconds * 1000:.0f} ms"
        if seconds > SLOW_S:
            self._notes.warning("webhook", found, "the provider waits 15 s: see what keeps proxy or webhook")
        else:
            self._notes.ok("webhook", found)

    async def _door(self, check: str, path: str) -> None:
        """What is forged must come to the webhook, and be refused by it."""
        try:
            answer = await self._ask("POST", path, json={"code": 200, "data": {"task_id": _FORGED}})
        except NoAnswer as error:
            self._notes.wrong(check, str(error), PASS_ON)
            return
        if answer.status == 403 and answer.field("detail"):
            self._notes.ok(check, "a forged one is refused by the webhook")
        else:
            self._notes.wrong(
                check, f"a forged one does not come to the webhook: {described(answer)}", PASS_ON
            )

    async def _source(self, nonce: str) -> None:
        """A part of a source, and whether its own path leads here."""
        start, end = _RANGE
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "gzip, identity"}
        try:
            door = await self._ask("GET", f"/source/{_FORGED}/audio.mp3")
            answer = await self._ask("GET", f"/probe/{nonce}", headers=headers)
        except NoAnswer as error:
            self._notes.wrong("source", str(error), PASS_ON)
            return
        if door.status != 403 or not door.field("detail"):
            self._notes.wrong("source", f"its path does not come to the webhook: {described(door)}", PASS_ON)
            return
        problem = damage(answer, content(nonce), start, end)
        if problem:
            advice = (
                "let the proxy pass answers on as they are: no compression, no rewriting, ranges untouched"
            )
            self._notes.wrong("source", problem, advice)
        else:
            self._notes.ok("source", "a part of it arrives as it should")

"""The bench of the chat API: the bot's calls and their answers, faults for the next calls, flood limits."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from sandbox.telegram.chat_bodies import Body
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.state import BotCall, TelegramState


class NewFault(Body):
    """A fault for the next `times` calls of `method`; None: for all calls, of any method."""

    kind: FaultKind
    method: str | None = None
    times: Annotated[int, Field(ge=1)] | None = 1
    retry_after_s: Annotated[int, Field(ge=1)] = 5


def add_bench(router: APIRouter, telegram: TelegramState) -> None:
    @router.get("/calls")
    async def calls(
        after: Annotated[int, Query(ge=0)] = 0,
        timeout_s: Annotated[float, Query(alias="timeout", ge=0, le=60)] = 25,
    ) -> dict[str, Any]:
        """Return the bot's calls after number `after`, without those that are no longer kept.

        It waits for one, and returns none at the timeout.
        """
        await telegram.wait_for_calls(after, timeout_s)
        return {
            "calls": [_call(number, call) for number, call in telegram.calls.after(after)],
            "last_call": telegram.calls.last_number,
        }

    @router.get("/faults")
    async def faults(chat_id: int = 0) -> dict[str, Any]:
        return {
            "kinds": list(FaultKind),
            "faults": [asdict(fault) for fault in telegram.faults.pending],
            "messages_left": telegram.flood.left(chat_id),
        }

    @router.post("/faults")
    async def add_fault(body: NewFault) -> dict[str, Any]:
        return asdict(telegram.faults.add(**body.model_dump()))

    @router.delete("/faults")
    async def clear_faults() -> dict[str, Any]:
        telegram.faults.clear()
        return {}


def _call(number: int, call: BotCall) -> dict[str, Any]:
    return {"number": number, **asdict(call)}

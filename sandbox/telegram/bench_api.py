"""The bench's endpoints in the chat API: calls and callbacks, states of jobs, faults, flood limits."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import Field

from sandbox.bench.bench import Bench
from sandbox.bench.separation_faults import CREATE, SeparationFault, SeparationFaultKind
from sandbox.bench.separation_proxy import METHODS
from sandbox.telegram.chat_bodies import Body
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.state import TelegramState

_Times = Annotated[int, Field(ge=1)] | None
_Seconds = Annotated[float, Field(gt=0, le=86_400)]


class NewFault(Body):
    """A fault for the next `times` calls (None: all) of `method` (None: any), for `for_s` seconds."""

    kind: FaultKind
    method: str | None = None
    times: _Times = 1
    for_s: _Seconds | None = None
    retry_after_s: Annotated[int, Field(ge=1)] = 5
    delay_s: _Seconds = 5


class NewSeparationFault(Body):
    """A fault as above, of the separation API; `code` is that of a refusal or a failed task."""

    kind: SeparationFaultKind
    method: str | None = CREATE
    times: _Times = 1
    for_s: _Seconds | None = None
    code: Annotated[int, Field(ge=300, le=599)] = 500
    delay_s: _Seconds = 5


def add_bench(router: APIRouter, telegram: TelegramState, bench: Bench | None) -> None:
    """Add the endpoints; without a `bench` they show and break only the calls to Telegram."""

    @router.get("/records")
    async def records(
        after: Annotated[int, Query(ge=0)] = 0,
        timeout_s: Annotated[float, Query(alias="timeout", ge=0, le=60)] = 25,
    ) -> dict[str, Any]:
        """Return records and jobs with numbers above `after`; waits for one, returns none at the timeout."""
        await telegram.wait_for_records(after, timeout_s)
        return {
            "records": [asdict(record) for record in telegram.records.after(after)],
            "jobs": [asdict(job) for job in bench.jobs.after(after)] if bench else [],
            "problem": bench.jobs.problem if bench else "",
            "last_number": telegram.records.last_number,
        }

    @router.get("/faults")
    async def faults(chat_id: int = 0) -> dict[str, Any]:
        return {
            "kinds": list(FaultKind),
            "separation_kinds": list(SeparationFaultKind) if bench else [],
            "separation_methods": list(METHODS.values()),
            "faults": [
                *map(asdict, telegram.faults.pending),
                *map(asdict, bench.faults.pending if bench else []),
            ],
            "messages_left": telegram.flood.left(chat_id),
        }

    @router.post("/faults")
    async def add_fault(body: NewFault) -> dict[str, Any]:
        fields = body.model_dump(exclude={"for_s"})
        return asdict(telegram.faults.add(**fields, until=_until(telegram, body.for_s)))

    @router.post("/faults/separation")
    async def add_separation_fault(body: NewSeparationFault) -> dict[str, Any]:
        if bench is None:
            raise HTTPException(404, "nothing stands between stemdrop and the separation API here")
        fields = body.model_dump(exclude={"for_s"})
        return asdict(bench.faults.put(SeparationFault(**fields, until=_until(telegram, body.for_s))))

    @router.delete("/faults")
    async def clear_faults() -> dict[str, Any]:
        telegram.faults.clear()
        if bench:
            bench.faults.clear()
        return {}


def _until(telegram: TelegramState, for_s: float | None) -> float | None:
    return None if for_s is None else telegram.clock() + for_s

"""`CallSteps`: the steps of a job's create calls, of which each is one script."""

import secrets
from functools import cache
from typing import Any

from stemdrop.domain.allowance import day_of
from stemdrop.domain.job_fields import encode
from stemdrop.domain.jobs import Job
from stemdrop.domain.outcomes import Receipt, Run
from stemdrop.domain.queues import Task
from stemdrop.domain.results import Result
from stemdrop.errors import OverLimit
from stemdrop.storage import call_scripts, record_scripts, script_prelude
from stemdrop.storage.connection import run_script
from stemdrop.storage.create_calls import CreateCall
from stemdrop.storage.job_lists import RUNS, JobLists
from stemdrop.storage.keys import CALL, JOB, JOB_LIFETIME_S, PACKED, SENT, SPENT, TASK
from stemdrop.storage.task_scripts import addition


class CallSteps(JobLists):
    """The steps of create calls. Every method raises `StoreUnavailable`."""

    async def set(self, job_id: str, **changes: object) -> None:
        """Write attributes that no two processes write at once (a message's id, a poll's time)."""
        await self._write_fields(job_id, encode(changes))

    async def begin_create(self, job_id: str, call: CreateCall | None = None) -> str:
        """Note a create call and return its name; empty if it must not be made (again).

        The price that the job's account holds becomes that of the call. Raises `OverLimit`.
        """
        name = call.id if call else secrets.token_hex(8)
        keys = [JOB.format(job_id), CALL.format(name)]
        args: list[str | float] = [job_id, self._clock(), name]
        args += [call.provider if call else "", "" if call is None else call.price]
        args.append(call.source if call else "")
        args += flat(call.to_fields() if call else {"job": job_id})
        return name if await self._run_within_limit(call_scripts.BEGIN_CREATE, keys, args) else ""

    async def can_pay(self, job: Job, price: int) -> bool:
        """Whether the account's limit of the day allows this price for the job's next call."""
        if price <= job.price:  # it is held
            return True
        return not await self._run(call_scripts.EXCEEDS, [JOB.format(job.id)], [job.id, price])

    async def not_accepted(
        self, job: Job, call: str = "", *, code: str = "", avoid: str = "", told: str = ""
    ) -> None:
        """Note that this create call (default: the last) was certainly not accepted: it may be made again.

        `code` is that of the refusal, `told` the code with which the job fails if all providers refuse, and
        `avoid` the provider that is not asked again. If the job has ended or was deleted, the credits that it
        held are returned, unless an earlier call may have cost them.
        """
        keys = [JOB.format(job.id), SPENT.format(job.account, job.account_day)]
        args = [job.id, self._clock(), call, code, avoid, told]
        await self._run(call_scripts.NOT_ACCEPTED, keys, args)

    async def fail_over(self, job: Job, code: str) -> bool:
        """Let another provider be asked after the task failed at no cost. False: the job has moved on."""
        token = f"failover:{job.task_id}"
        args = [job.id, self._clock(), token, job.task_id, code, RUNS.format(Run.SUBMIT)]
        return bool(await self._run(call_scripts.FAIL_OVER, [JOB.format(job.id)], args))

    async def lose_answer(self, job_id: str, call: str) -> bool:
        """Note that this create call's answer is lost. False: the job no longer waits for it."""
        args = [job_id, self._clock(), call]
        return bool(await self._run(call_scripts.LOSE_ANSWER, [JOB.format(job_id)], args))

    async def ask_again(self, job: Job, tap_id: str, price: int | None = None, limit: int = 0) -> bool:
        """Allow one more create call after a lost answer, and count its runs anew. False: no answer is lost.

        No further call may cost more than `price`, which its user has agreed to (`None`: as before). Raises
        `OverLimit` if that price exceeds the account's `limit` of today (0: none), to which the job's credits
        are moved.
        """
        now = self._clock()
        # the script compares `create_started_at` as text, as it was stored
        args = [job.id, now, tap_id, job.create_started_at, RUNS.format(Run.SUBMIT)]
        args.append(encode({"agreed_price": job.agreed_price if price is None else price})["agreed_price"])
        args += [limit, day_of(now)]
        return await self._run_within_limit(call_scripts.ASK_AGAIN, [JOB.format(job.id)], args)

    async def note_source_fetched(self, job_id: str) -> bool:
        """Note that the provider has fetched the job's source; the next create call clears the note.

        False: there is no such job.
        """
        return await self._write_fields(job_id, encode({"source_fetched_at": self._clock()}))

    async def accept(self, job_id: str, task_id: str, call: str = "") -> Receipt:
        """Store the create call's task id and move on to `separating`, unless the callback was quicker."""
        keys = [JOB.format(job_id), TASK.format(task_id)]
        args = [job_id, task_id, self._clock(), JOB_LIFETIME_S, call]
        return Receipt(await self._run(call_scripts.ACCEPT, keys, args))

    async def receive(
        self,
        job_id: str,
        chat_id: int,
        task_id: str,
        result: Result,
        provider: str = "",
        *,
        adds_delivery: bool = False,
    ) -> Receipt:
        """Store a result and move on to `delivering`. Job, chat, task and provider must belong together.

        `adds_delivery`: the same step adds the delivery task, even to a job that was delivering without one.
        """
        keys = [JOB.format(job_id), TASK.format(task_id)]
        stored = encode({"result": result})
        args: list[str | float] = [job_id, str(chat_id), task_id, self._clock(), JOB_LIFETIME_S]
        args += [stored["result"], stored["has_stems"], int(result.is_success), int(result.is_refunded)]
        args.append(provider)
        if not adds_delivery:
            return Receipt(await self._run(call_scripts.RECEIVE, keys, args))
        task_keys, task_args = addition(Task.DELIVER, job_id, job_id)
        script = _with_prelude(call_scripts.RECEIVE_AND_DELIVER, call_scripts.KNOWN_RESULT)
        return Receipt(await run_script(self._redis, script, [*keys, *task_keys], [*args, *task_args]))

    async def _run(self, text: str, keys: list[str], args: list[Any]) -> Any:
        return await run_script(self._redis, _with_prelude(text), keys, args)

    async def _run_within_limit(self, text: str, keys: list[str], args: list[Any]) -> bool:
        done = int(await self._run(text, keys, args))
        if done < 0:
            raise OverLimit("it would cost more than its account may still spend that day")
        return bool(done)

    async def _write_fields(self, job_id: str, fields: dict[str, str], key: str = JOB) -> bool:
        keys = [it.format(job_id) for it in (key, JOB, SENT, PACKED)]
        return bool(await self._run(record_scripts.WRITE, keys, [JOB_LIFETIME_S, *flat(fields)]))


@cache
def _with_prelude(text: str, before: str = "") -> str:
    return before + script_prelude.PRELUDE + text


def flat(fields: dict[str, str]) -> list[str]:
    """Return fields and values in turn, as scripts take them."""
    return [text for pair in fields.items() for text in pair]

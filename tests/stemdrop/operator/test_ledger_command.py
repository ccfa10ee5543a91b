"""`stemdrop jobs ledger`: every create call, as CSV, as JSON and as totals."""

import asyncio
import csv
import io
import json
import time
from pathlib import Path

import pytest
from builders import make_call, make_job
from redis.asyncio import Redis

from stemdrop.cli import run
from stemdrop.domain.jobs import JobState
from stemdrop.storage.connection import connect
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.keys import CALL

HEADER = "time,job,provider,mode,instrument,song_seconds,credits,outcome,paid,credits_paid,code,task"
DAY_S = 24 * 3600
# outcome, code, task, provider, price, age in days
CALLS = [
    ("refused", "402", "", "sunoapi", 10, 3),
    ("succeeded", "", "lalal:-1+1", "lalal", 48, 2),
    ("lost", "", "", "lalal", 12, 1),
    ("succeeded", "", '=HYPERLINK("x"),', "sunoapi", 50, 40),
]


async def note_calls(redis: Redis) -> None:
    now = time.time()
    for outcome, code, task, provider, price, days in CALLS:
        store, job = JobStore(redis, lambda at=now - days * DAY_S: at), make_job(state=JobState.SUBMITTING)
        await store.add(job, once=job.id)
        call = make_call(job.id, provider=provider, price=price, asked_at=now - days * DAY_S)
        assert await store.begin_create(job.id, call)
        await redis.hset(CALL.format(call.id), mapping={"outcome": outcome, "code": code, "task": task})
        await store.forget(job.id)


@pytest.fixture
def environ(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    keys = {"TELEGRAM_BOT_TOKEN": "1:token", "SEPARATION_API_KEY": "key", "SECRET_KEY": "secret"}
    return {**keys, "REDIS_URL": redis_url}


@pytest.mark.usefixtures("_own_logging")
async def test_the_ledger_lists_all_calls_also_of_deleted_jobs(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    async def ledger(*words: str) -> str:
        assert await asyncio.to_thread(run, ["jobs", "ledger", *words], environ) == 0
        return capsys.readouterr().out

    assert await ledger() == f"{HEADER}\r\n"
    assert json.loads(await ledger("--json")) == []
    assert await ledger("--summary") == "No provider was asked.\n"
    async with connect(environ["REDIS_URL"]) as redis:
        await note_calls(redis)
    text = await ledger()
    assert text.count("\r\n") == text.count("\n") == 4
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["provider"], row["credits"], row["outcome"], row["paid"]) for row in rows] == [
        ("sunoapi", "10", "refused", "no"),
        ("lalal", "48", "succeeded", "yes"),
        ("lalal", "12", "lost", "unknown"),
    ]
    assert [row["credits_paid"] for row in rows] == ["0", "48", ""]
    assert [(row["code"], row["task"]) for row in rows] == [("402", ""), ("", "lalal:-1+1"), ("", "")]
    assert rows[0]["time"].endswith("+00:00")
    oldest = (await ledger("--since", "2001-02-03")).splitlines()[1]
    assert oldest.endswith('''succeeded,yes,50,,"'=HYPERLINK(""x""),"''')
    found = json.loads(await ledger("--json"))
    assert [(it["paid"], it["credits_paid"]) for it in found] == [(False, 0), (True, 48), (None, None)]
    totals = (await ledger("--summary")).splitlines()
    assert [line.split() for line in totals[1:]] == [
        ["sunoapi", *"1001000"],
        ["lalal", "2", "1", "0", "0", "1", "48", "12"],
    ]
    assert json.loads(await ledger("--summary", "--json"))["lalal"]["credits_paid"] == 48


@pytest.mark.parametrize("since", ["0", "401", "-1", "yesterday", "2026-13-01", "²"])
def test_a_wrong_time_is_refused(
    since: str, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(["jobs", "ledger", f"--since={since}"], environ)
    assert "must be a number of days, at most 400, or a date as 2026-01-31" in capsys.readouterr().err

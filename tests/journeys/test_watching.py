"""One song as an operator sees it: in the logs of all processes, in /metrics, and in `stemdrop status`."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
from deployment import Deployment, open_deployment
from process_pool import ForkedProcess
from provider import KEY
from waits import WAIT_S


async def test_one_song_is_seen_in_all_processes(tmp_path: Path) -> None:
    async with open_deployment(tmp_path, "bot", "webhook", "worker", LOG_FORMAT="json") as deployment:
        deployment.provider.few_stems = True
        alice = deployment.person("Alice")
        _, menu = await alice.asks(deployment.song("Found"), 1)
        menu = await alice.shows(menu, "✅")
        await deployment.jobs_rest()
        async with deployment.store() as store:
            (job,) = await store.delivered_jobs()
        assert task_ids_in_logs(deployment, job.id) == {
            "bot": set(),
            "webhook": {job.task_id},
            "worker": {job.task_id},
        }
        text = await measured(deployment)
        assert re.search(r'^stemdrop_telegram_calls_total{outcome="ok"} [1-9]', text, re.M)
        secrets = (
            deployment.telegram.token,
            KEY,
            deployment.environment.variables()["SECRET_KEY"],
            job.id,
            "Alice",
            "Found",
        )
        assert [word for word in secrets if word in text] == []
        facts = await status(deployment, tmp_path)
        assert [process["role"] for process in facts["processes"]] == ["bot", "webhook", "worker"]
        assert facts["missing"] == facts["jobs"] == []
        assert facts["last_hour"]["ended"] == {"delivered": 1, "incomplete": 0, "failed": 0, "cancelled": 0}
        assert facts["credits"]["left"] == deployment.provider.credits


def task_ids_in_logs(deployment: Deployment, job_id: str) -> dict[str, set[str]]:
    """Return the task ids in the log lines about the job, by process; each process must have such lines."""
    seen: dict[str, set[str]] = {}
    for process in deployment.processes:
        lines = [json.loads(line) for line in process.output().splitlines()]
        for line in lines:
            if named := re.search(r"\bjob ([0-9a-f]{16})\b", line["message"]):
                assert line["job"] == named[1], line
        of_it = [line for line in lines if line.get("job") == job_id]
        assert of_it, process.arguments
        seen[process.arguments[0]] = {line["task_id"] for line in of_it if "task_id" in line}
    return seen


async def measured(deployment: Deployment) -> str:
    """Return /metrics as soon as all processes have written their counters."""
    url = f"http://127.0.0.1:{deployment.environment.variables()['LISTEN_PORT']}/metrics"
    expected = (
        'stemdrop_jobs_ended_total{mode="split_stem",outcome="delivered"} 1.0',
        'stemdrop_job_state_seconds_count{mode="split_stem",state="delivering"} 1.0',
        'stemdrop_callbacks_total{outcome="stored"} 1.0',
        'stemdrop_api_calls_total{call="create",outcome="ok"} 1.0',
        'stemdrop_stem_fetches_total{outcome="ok"} 2.0',
        f"stemdrop_credits_left {deployment.provider.credits:.1f}",
        *(f'stemdrop_processes{{role="{role}"}} 1.0' for role in ("bot", "webhook", "worker")),
        *(
            f'stemdrop_queue_tasks{{queue="{queue}",state="waiting"}} 0.0'
            for queue in ("updates", "deliveries")
        ),
        "stemdrop_callbacks_expected 1.0",
    )
    async with httpx.AsyncClient(trust_env=False, verify=False) as http, asyncio.timeout(WAIT_S):
        while True:
            text = (await http.get(url)).text
            if all(line in text.splitlines() for line in expected):
                return text
            await asyncio.sleep(0.3)


async def status(deployment: Deployment, folder: Path) -> Any:
    """Return what `stemdrop status --json` prints."""
    process = ForkedProcess(
        ["status", "--json"], deployment.environment.variables(), folder / "status", cwd=folder
    )
    process.start()
    assert await process.wait(200) == 0
    return json.loads(process.output())

"""`stemdrop jobs` beside the running bot: a failed job is retried, a hanging one is dropped."""

import json
from pathlib import Path

import pytest
from deployment import Deployment
from process_pool import ForkedProcess
from provider import KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS, ALL_STEMS = 0, 1


@pytest.fixture
def desk(deployment: Deployment, tmp_path: Path) -> Path:
    """Return the folder in which the operator works, with the settings in its `.env`."""
    settings = deployment.environment.variables()
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return tmp_path


async def jobs(desk: Path, *words: str) -> tuple[int, str]:
    """Exit code and output of `stemdrop jobs …`, as a process of its own that knows nothing else."""
    process = ForkedProcess(["jobs", *words], {}, desk / "output", cwd=desk)
    process.start()
    code, output = await process.wait(200), process.output()
    assert "Traceback" not in output
    return code, output


async def test_a_failed_job_is_listed_and_retried(deployment: Deployment, desk: Path) -> None:
    provider = deployment.provider
    provider.few_stems, provider.failure = True, 500
    alice = deployment.person("Alice")
    _, menu = await alice.asks(deployment.song("Broken"), ALL_STEMS)
    await alice.shows(menu, "⚠️ That did not work (code 500).")
    await deployment.jobs_rest()
    code, output = await jobs(desk, "--json")
    (entry,) = json.loads(output)["failed"]
    assert (code, entry["title"], entry["account"]) == (0, "Broken", alice.id)
    assert entry["failure"] == {"code": "500", "charged": True}
    for secret in (deployment.telegram.token, KEY, deployment.environment.variables()["SECRET_KEY"]):
        assert secret not in output
    provider.failure = None
    code, output = await jobs(desk, "retry", entry["id"][:8])
    assert code == 0
    assert output.startswith(f"job {entry['id']}: trying again as job ")
    assert "; costs 50 credits" in output
    menu = await alice.shows(menu, "✅ “Broken”: 2 stems are here.")
    assert len(provider.creates) == 2


async def test_a_hanging_job_is_dropped_and_its_user_told(deployment: Deployment, desk: Path) -> None:
    deployment.provider.answers_by_itself = False
    alice = deployment.person("Alice")
    _, menu = await alice.asks(deployment.song("Hanging"), VOCALS)
    await deployment.separating()
    code, output = await jobs(desk)
    assert code == 0
    opened = output.partition("\n\n")[0].splitlines()
    assert opened[0] == "Open (1)"
    assert "Hanging" in opened[2]
    code, output = await jobs(desk, "drop", opened[2].split()[0])
    assert code == 0
    assert ": cancelled; its 10 credits are spent" in output
    await alice.shows(menu, "✖️ Cancelled: “Hanging”.")

"""One deployment per file for stories that do not disturb each other."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

pytest.register_assert_rewrite("deployment")

from deployment import Deployment, open_deployment  # noqa: E402 - after its assertions are registered


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """Open a deployment for the file, with its constants PROCESSES and SETTINGS."""
    commands = getattr(request.module, "PROCESSES", ("up",))
    settings = getattr(request.module, "SETTINGS", {})
    async with open_deployment(tmp_path_factory.mktemp("deployment"), *commands, **settings) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def deployment(shared_deployment: Deployment) -> AsyncIterator[Deployment]:
    """Lend the deployment to one story: faults are cleared before it, and `end` checks it afterwards."""
    shared_deployment.begin()
    yield shared_deployment
    await shared_deployment.end()

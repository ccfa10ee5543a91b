"""One stage per file for stories that do not disturb each other."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

pytest.register_assert_rewrite("stage")

from stage import Stage, open_stage  # noqa: E402 - after its assertions are registered


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """Open a stage for the file, with its constants PROCESSES and SETTINGS."""
    commands = getattr(request.module, "PROCESSES", ("up",))
    settings = getattr(request.module, "SETTINGS", {})
    async with open_stage(tmp_path_factory.mktemp("stage"), *commands, **settings) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def stage(shared_stage: Stage) -> AsyncIterator[Stage]:
    """Lend the stage to one story: faults are cleared before it, and `Stage.end` checks it afterwards."""
    shared_stage.begin()
    yield shared_stage
    await shared_stage.end()

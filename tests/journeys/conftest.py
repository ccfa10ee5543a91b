"""One stage per file for stories that do not disturb each other."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

pytest.register_assert_rewrite("stage")

from stage import Stage, open_stage  # noqa: E402 - what it asserts is to be explained, too


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """The file's own stage; its constants PROCESSES and SETTINGS say with what."""
    commands = getattr(request.module, "PROCESSES", ("up",))
    settings = getattr(request.module, "SETTINGS", {})
    async with open_stage(tmp_path_factory.mktemp("stage"), *commands, **settings) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def stage(shared_stage: Stage) -> AsyncIterator[Stage]:
    """That stage for one story: all orders withdrawn before, looked over after."""
    shared_stage.begin()
    yield shared_stage
    await shared_stage.end()

"""Every fault as a named case: the product's real processes on a stage, broken, and an account of what came.

The quick ones run in a short form in the suite; with `--full` all run, as often and as long as
`docs/reliability.md` says.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

pytest.register_assert_rewrite("stage", "case")

from case import Case  # noqa: E402 - what it asserts is to be explained, too


@pytest.fixture
async def case(
    request: pytest.FixtureRequest, tmp_path: Path, record_property: Callable[[str, object], None]
) -> AsyncIterator[Case]:
    """A fault."""
    async with AsyncExitStack() as stack:
        yield Case(tmp_path, request.config.getoption("--full"), record_property, stack)

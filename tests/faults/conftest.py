"""Every fault is a named case: it breaks real processes or their servers and counts the stems that arrive.

The quick ones run in a short form in the suite; with `--full` all run, as often and as long as
`docs/reliability.md` says.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

pytest.register_assert_rewrite("deployment", "fault_case")

from fault_case import Case  # noqa: E402 - what it asserts is to be explained, too
from ledger import WAIT_S  # noqa: E402


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Allow each case the time after which its account reports a song that never ends."""
    if not config.getoption("--full"):
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(pytest.mark.timeout(WAIT_S + 60))


@pytest.fixture
async def case(
    request: pytest.FixtureRequest, tmp_path: Path, record_property: Callable[[str, object], None]
) -> AsyncIterator[Case]:
    """Yield a new case."""
    async with AsyncExitStack() as stack:
        yield Case(tmp_path, request.config.getoption("--full"), record_property, stack)

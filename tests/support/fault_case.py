"""One fault: the processes it breaks, the songs sent meanwhile, and its row in the table of faults."""

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deployment import Deployment, open_deployment
from ledger import Account, Ledger
from report import Row
from tcp_proxy import TcpProxy

# Shorter intervals than the defaults.
PATIENCE = {"POLL_AFTER_S": "5", "POLL_INTERVAL_S": "2", "JOB_TIMEOUT_S": "600"}


@dataclass
class Case:
    """One fault: its deployment, the songs that are played meanwhile, and its line in the table."""

    folder: Path
    is_full: bool
    record: Callable[[str, object], None]
    stack: AsyncExitStack
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    healed_at: float = 0
    _deployments: int = 0

    def times(self, short: int, full: int) -> int:
        """Return the number for the suite or for a full run."""
        return full if self.is_full else short

    async def open(self, *commands: str, **settings: Any) -> tuple[Deployment, Ledger]:
        """Open a deployment with these processes, which may log errors."""
        deployment = await self.stack.enter_async_context(self.deployment(**settings))
        await deployment.start(*commands)
        return deployment, Ledger(deployment)

    async def open_wired(self, *commands: str, **settings: Any) -> tuple[Deployment, Ledger, TcpProxy]:
        """Open a deployment whose connections to Redis can be cut."""
        wire = await self.stack.enter_async_context(TcpProxy(lambda: [port_of(deployment.redis_url)]).run())
        deployment = await self.stack.enter_async_context(self.deployment(**settings))
        url = deployment.redis_url
        deployment.settings["REDIS_URL"] = url.replace(f":{port_of(url)}/", f":{wire.port}/")
        await deployment.start(*commands)
        return deployment, Ledger(deployment), wire

    @asynccontextmanager
    async def deployment(self, **settings: Any) -> AsyncIterator[Deployment]:
        """Open a deployment without processes. In the suite a song has two stems only, for speed."""
        self._deployments += 1
        folder = self.folder / f"deployment-{self._deployments}"
        folder.mkdir()
        async with open_deployment(folder, **(PATIENCE | settings)) as deployment:
            for provider in deployment.providers:
                provider.remembers = True
                provider.few_stems = not self.is_full
            deployment.ordinary = ("",)
            yield deployment

    def healed(self) -> None:
        """Note the moment from which nothing is broken any more."""
        self.healed_at = time.monotonic()

    async def settle(
        self, ledger: Ledger, fault: str, times: int = 1, *, twice: int = 0, explained: int | None = 0
    ) -> Account:
        """Wait until all is well, add the fault's row, and return the account.

        Asserts that nothing is lost or paid twice, that at most `twice` stems come again, and that
        `explained` songs end with an explanation (None: any number).
        """
        self.healed_at = self.healed_at or time.monotonic()
        await ledger.all_well()
        account = ledger.account()
        self.row(fault, times, account)
        assert (account.lost, account.paid_twice) == (0, 0), account.notes
        assert account.twice <= twice, account.notes
        assert explained is None or account.explained == explained, account.notes
        return account

    def row(self, fault: str, times: int, account: Account) -> None:
        """Add a row to the table."""
        counted = asdict(account)
        counted.pop("notes")
        seconds = time.monotonic() - self.healed_at
        self.record("fault", asdict(Row(fault, times, seconds=seconds, **counted)))
        self.healed_at = 0


@asynccontextmanager
async def wired(case: Case, **settings: str) -> AsyncIterator[tuple[Deployment, Ledger, TcpProxy]]:
    """Open a deployment whose connections to the API can be cut; stems come by others."""
    async with (
        case.deployment(**settings) as deployment,
        TcpProxy(lambda: [port_of(deployment.provider.url)]).run() as wire,
    ):
        deployment.settings["SEPARATION_API_URL"] = f"http://127.0.0.1:{wire.port}"
        deployment.settings["STEM_HOSTS"] = deployment.provider.url.removeprefix("http://")
        await deployment.start("up")
        yield deployment, Ledger(deployment), wire


def port_of(url: str) -> int:
    """Return the port of a URL that names one."""
    port = urlsplit(url).port
    assert port
    return port

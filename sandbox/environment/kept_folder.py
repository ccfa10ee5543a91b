"""A folder in which a sandbox keeps all of its data for the next start: `stemdrop sandbox --data`."""

import asyncio
import fcntl
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sandbox.environment.database import Database, DatabaseError
from sandbox.environment.ports import free_port

_ORPHANS_WAIT_S = 60.0
_POLL_INTERVAL_S = 0.05


@dataclass
class Identity:
    """The keys and ports that links in the browser, in Redis and at the separator contain."""

    separation_api_key: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    redis_claim: str = field(default_factory=lambda: secrets.token_hex(8))
    page_port: int = 0  # any free port
    webhook_port: int = field(default_factory=free_port)
    separator_port: int = field(default_factory=free_port)


_IDENTITY = TypeAdapter(Identity)


class KeptFolder:
    """The folder. Its database locks it for this process, and `lock` for the processes that are started."""

    def __init__(self, folder: Path) -> None:
        """Open or create the folder. Raises `DatabaseError`."""
        self.database = Database(folder)
        self.folder = folder
        self.lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.identity = self._identity()

    async def take(self) -> None:
        """Wait until the processes of a killed sandbox have ended, and take its ports again if they are free.

        Raises `DatabaseError`.
        """
        await self._wait_for_orphans()
        identity = self.identity
        for name in ("page_port", "webhook_port", "separator_port"):
            setattr(identity, name, free_port(getattr(identity, name)))
        self.database.write({("identity", ""): _IDENTITY.dump_json(identity).decode()})

    async def _wait_for_orphans(self) -> None:
        deadline = time.monotonic() + _ORPHANS_WAIT_S
        while True:
            try:
                # Processes that inherit `lock` hold it, too, until the last of them ends.
                return fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise DatabaseError(f"processes of an earlier sandbox still use {self.folder}") from error
                await asyncio.sleep(_POLL_INTERVAL_S)

    def close(self) -> None:
        os.close(self.lock)
        self.database.close()

    def _identity(self) -> Identity:
        found = self.database.read("identity")
        if not found:
            return Identity()
        try:
            return _IDENTITY.validate_json(found[0][1])
        except ValidationError as error:
            raise self.database.damaged("its ports and keys") from error

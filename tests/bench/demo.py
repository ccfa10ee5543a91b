"""`make demo` on a fresh clone: how long it takes, and how much it lays on the disk."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rows import Row, at_most

_ROOT = Path(__file__).resolve().parents[2]
_WORK = "`make demo` on a fresh clone, with a warm package cache"


async def run(folder: Path) -> AsyncIterator[Row]:
    """Set up one clone, to fill the package cache, and measure another."""
    yield await asyncio.to_thread(_measured, folder)


def _measured(folder: Path) -> Row:
    filled = _make(_clone(folder / "first"), ".venv/.sandbox")
    if filled.returncode:
        why = (filled.stdout.splitlines() or [""])[-1].replace("|", "/")
        return Row(_WORK, f"not measured: the set-up fails, as without a package index: `{why}`")
    shutil.rmtree(folder / "first")
    clone = _clone(folder / "second")
    began = time.perf_counter()
    done = _make(clone, "demo")
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:])
    size_mb = sum(int(path.lstat().st_blocks) for path in clone.rglob("*")) * 512 / 1e6
    return Row(
        _WORK,
        f"{seconds:.0f} s; the folder has {size_mb:.0f} MB",
        "",
        (at_most(seconds, 45, " s"), at_most(size_mb, 350, " MB")),
    )


def _clone(target: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{_ROOT}", str(target)], check=True)
    return target


def _make(clone: Path, target: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", target], cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )

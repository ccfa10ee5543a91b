"""What is written for people and for machines leads somewhere: links, headings, targets."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stemdrop.domain.failures import REMEDIES

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (ROOT, ROOT / "docs", ROOT / "ops")
    for path in folder.glob("*.md")
)
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What its headings are called in links, as GitHub has it."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    words = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-") for text in words}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_and_headings(name: str) -> None:
    page = ROOT / name
    dead = []
    links = re.findall(r"\[[^]]*\]\(([^)\s]+)\)", prose(page))
    pictures = re.findall(r'\b(?:src|srcset)="([^"]+)"', prose(page))
    for link in links + pictures:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_found_from_the_readme(name: str) -> None:
    """By one link, or by two."""
    linked = re.findall(r"\]\(([\w./-]+\.md)", (ROOT / "README.md").read_text("utf-8"))
    assert name in {"README.md", *linked}


def test_make_has_every_target_that_is_called() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    called = {name for step in STEPS for name in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))}
    told = {
        name for page in PAGES for name in re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text("utf-8"))
    }
    assert {"lint", "types", "audit", "ops-check", "test", "compose-test"} <= called <= targets
    assert told <= targets


def test_a_stranger_can_change_no_step_and_a_step_may_do_no_more_than_it_must() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert [name for name in used if not re.fullmatch(r"(actions|docker)/[\w-]+@v\d+\.\d+\.\d+", name)] == []
    assert WORKFLOW["permissions"] == {"contents": "read"}
    writing = {name for name, job in WORKFLOW["jobs"].items() if "write" in str(job.get("permissions"))}
    assert writing == set()
    assert "refs/tags/" in WORKFLOW["jobs"]["image"]["if"]


def test_the_suite_runs_on_the_oldest_and_on_the_images_python() -> None:
    versions = WORKFLOW["jobs"]["check"]["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["requires-python"] == f">={versions[0]}"
    assert f"python:{versions[-1]}-" in (ROOT / "Dockerfile").read_text("utf-8")


# docs/troubleshooting.md

TROUBLES = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TROUBLES.splitlines()
    if line.startswith("| ")
]
# Of others: Redis' words, and names of settings and files.
_FOREIGN = re.compile(r"[A-Z_]+=?\w*|/\w+|OOM |MISCONF ")


def sayings() -> list[str]:
    """What the product is said to say, in the first cell of a row; dots stand for what varies."""
    quoted = [text for first, *_ in ROWS for text in re.findall(r"`([^`]+)`", first)]
    parts = [part for text in quoted for part in text.split("…")]
    return [part for part in parts if len(part) > 3 and part not in REMEDIES and not _FOREIGN.fullmatch(part)]


def source_text() -> str:
    """All that the product can say, with what is joined from several lines joined."""
    paths = [
        path
        for room in ("stemdrop", "bot", "webhook", "worker", "separator")
        for path in (ROOT / room).rglob("*.py")
    ]
    text = "\n".join(path.read_text("utf-8") for path in paths)
    return text + (ROOT / "stemdrop/chat/locales/en.po").read_text("utf-8")


def test_what_the_product_is_said_to_say_it_says() -> None:
    known = source_text()
    assert len(sayings()) > 40
    assert [part for part in sayings() if part not in known] == []


def test_every_code_of_a_failure_is_explained() -> None:
    explained = {first.strip("`") for first, *_ in ROWS}
    assert REMEDIES.keys() <= explained


def warnings() -> Iterator[list[str]]:
    """The fixed parts of each warning that a process logs."""
    for room in ("stemdrop", "bot", "webhook", "worker", "separator"):
        for path in (ROOT / room).rglob("*.py"):
            for text in re.findall(r'\b_?log\.warning\(\s*\*?\(?\s*"([^"]+)"', path.read_text("utf-8")):
                parts = [part.strip(" ,;:") for part in re.split(r"%(?:\.0f|[sd])|[(:]", text)]
                if parts := [part for part in parts if len(part) > 8]:
                    yield parts


def test_every_warning_is_explained() -> None:
    """By its words; dots stand for what varies."""
    explained = re.sub(r"\s+", " ", TROUBLES)
    assert len(list(warnings())) > 30
    assert [parts for parts in warnings() if not any(part in explained for part in parts)] == []

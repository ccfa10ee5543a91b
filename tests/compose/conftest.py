"""`make compose-test`: these run with a real container engine, and only when asked for."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import PREFIX, PREVIOUS, ROOT, VERSION, Stack, docker

if not os.environ.get("COMPOSE_TEST"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This stemdrop's sources as a fresh clone has them, with what is not committed yet."""
    folder = tmp_path_factory.mktemp("clone")
    names = git("ls-files", "--cached", "--others", "--exclude-standard", "-z")
    tar = subprocess.run(
        ["tar", "--create", "--null", "--files-from", "-", "--ignore-failed-read"],
        cwd=ROOT,
        input=names,
        capture_output=True,
        check=True,
    )
    subprocess.run(["tar", "--extract"], cwd=folder, input=tar.stdout, check=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _traceless() -> Iterator[None]:
    """What the tests leave of containers, volumes, networks and images is a failure."""
    volumes = set(docker("volume", "ls", "--quiet").split())
    yield
    images = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    ours = [image for image in images if image.endswith((f":{VERSION}", f":{PREVIOUS}"))]
    if ours:
        docker("image", "rm", "--force", *ours)
    assert docker("ps", "--all", "--quiet", "--filter", f"name={PREFIX}").split() == []
    assert set(docker("volume", "ls", "--quiet").split()) <= volumes
    assert docker("network", "ls", "--quiet", "--filter", f"name={PREFIX}").split() == []


@pytest.fixture(scope="session", autouse=True)
def _images(clone: Path) -> None:
    """Built from the clone, as `docker compose up --build` does."""
    stack = Stack("build", clone, {})
    stack.write()
    stack.compose("--profile", "port", "--profile", "sandbox", "build", timeout_s=1500)


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the version before this one, and its image.

    Of the last tag; without one of a day before, or else the first that could be brought up.
    """
    folder = tmp_path_factory.mktemp("previous")
    commit = _previous()
    if commit is None:
        pytest.skip("NOT TESTED: the history of this clone has no version before this one")
    tar = git("archive", commit)
    subprocess.run(["tar", "--extract"], cwd=folder, input=tar, check=True)
    docker("build", "--quiet", "--tag", f"stemdrop:{PREVIOUS}", str(folder), timeout_s=1500)
    return folder


def _previous() -> str | None:
    tags = git("tag", "--sort=-creatordate", "--no-contains", "HEAD").decode().split()
    if tags:
        return tags[0]
    head, *earlier = [line.split() for line in git("log", "--format=%H %cs").decode().splitlines()]
    could_run = [
        (commit, day)
        for commit, day in earlier
        if re.search(rb"^docker-compose.yml$", git("ls-tree", "--name-only", commit), re.M)
    ]
    of_a_day_before = [commit for commit, day in could_run if day < head[1]]
    return next(iter(of_a_day_before + [commit for commit, _ in could_run[-1:]]), None)


def git(*arguments: str) -> bytes:
    """What git prints."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout

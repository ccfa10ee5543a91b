"""A `docker compose` project of a test, with its own folder, `.env`, images and volumes; removed after it."""

import itertools
import json
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
OVERRIDE = ROOT / "tests" / "compose" / "override.yml"
# Nothing else of ours has these names.
PREFIX, VERSION, PREVIOUS = "stemdrop-test", "test", "test-previous"
# All settings of the sandbox but those that name its own project and file.
SANDBOX = dict(
    line.split("=", 1)
    for line in (ROOT / ".env.sandbox").read_text("utf-8").splitlines()
    if not line.startswith(("#", "COMPOSE_PROJECT_NAME=", "ENV_FILE="))
)
# Each song is new unless a test names it: a repeated song is free and comes at once.
_NEW_SONG = """
song=/tmp/$1.mp3
cp "$(python -c 'from sandbox.command import DEMO_SONG; print(DEMO_SONG)')" "$song"
echo "$1" >> "$song"
shift
exec stemdrop sandbox --telegram http://127.0.0.1:8081 --out /tmp/stems --song "$song" "$@"
"""


_numbers = itertools.count(1)


class Stack:
    """The project. `settings` are the lines of `.env` in `folder`, which holds stemdrop's sources."""

    def __init__(
        self, name: str, folder: Path, settings: Mapping[str, str], override: Path = OVERRIDE
    ) -> None:
        self.project = f"{PREFIX}-{name}"
        self.version = VERSION
        self.folder = folder
        self._settings = dict(settings)
        self._override = override

    def __enter__(self) -> Self:
        self.write()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "30")

    def move(self, folder: Path, version: str = VERSION) -> None:
        """Use these sources and this version of the images from now on."""
        self.folder, self.version = folder, version
        self.write()

    def configure(self, **settings: str) -> None:
        """Add these settings from now on."""
        self._settings |= settings
        self.write()

    def write(self) -> None:
        """Write `.env`, as an operator does."""
        lines = [f"{name}={value}" for name, value in self._settings.items()]
        (self.folder / ".env").write_text("\n".join(lines) + "\n", "utf-8")

    def command(self, *arguments: str) -> list[str]:
        files = ("--file", str(self.folder / "docker-compose.yml"), "--file", str(self._override))
        return ["docker", "compose", "--project-name", self.project, *files, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables for commands, without those that would override `.env`."""
        cached = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ}
        return {**cached, "STEMDROP_VERSION": self.version}

    def compose(self, *arguments: str, timeout_s: float = 600) -> str:
        """Run `docker compose …`; returns what it prints. Raises `AssertionError` with it when it fails."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout}\n{done.stderr}\n{self._logs()}"
        return done.stdout

    def follow(self, commands: str) -> str:
        """Run the commands of a page, word for word; returns what they print."""
        environment = self.environment | {"COMPOSE_PROJECT_NAME": self.project}
        done = subprocess.run(
            ["sh", "-ec", commands],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}:\n{done.stdout}\n{done.stderr}\n{self._logs()}"
        return done.stdout

    def _logs(self) -> str:
        command = self.command("logs", "--tail", "15")
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout

    def up(self, *arguments: str) -> None:
        """Start all services and wait until they are healthy."""
        self.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "240", *arguments)

    def states(self) -> dict[str, str]:
        """Return the health of each container, or its state where it has no health check."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        found = [json.loads(line) for line in lines]
        return {it["Name"]: it["Health"] or it["State"] for it in found}

    def containers(self, service: str) -> list[dict[str, Any]]:
        """Return what `docker inspect` says of the containers of this service."""
        ids = self.compose("ps", "--quiet", service).split()
        return list(json.loads(docker("inspect", *ids))) if ids else []

    def kill(self, service: str) -> None:
        """Send SIGKILL to one of the service's containers, as the kernel does when memory is full.

        After `docker kill` the engine would think that the container is meant to be dead.
        """
        pid = self.containers(service)[0]["State"]["Pid"]
        image = f"stemdrop:{self.version}"
        shell = ("--entrypoint", "sh", image, "-c", f"kill -9 {pid}")
        docker("run", "--rm", "--pid", "host", "--user", "0", "--network", "none", *shell)

    def wait_until_well(self, timeout_s: float = 240) -> None:
        """Wait until each container is healthy, again or still."""
        deadline = time.monotonic() + timeout_s
        while (states := set(self.states().values())) - {"healthy"}:
            assert time.monotonic() < deadline, (states, self.states(), self._logs())
            time.sleep(1)

    def logs(self, service: str) -> str:
        """Return the log of the service's containers."""
        return self.compose("logs", "--no-log-prefix", service)

    def accepted(self) -> int:
        """Return how many songs the separation API has accepted."""
        return self.logs("worker").count(": accepted by ")

    def wait_until_accepted(self, count: int, timeout_s: float = 120) -> None:
        """Wait until the API has accepted so many songs; the chat shows sooner that a song is being split."""
        deadline = time.monotonic() + timeout_s
        while self.accepted() < count:
            assert time.monotonic() < deadline, self._logs()
            time.sleep(0.2)

    def run(self, service: str, *command: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a command in the service's container; returns what it prints."""
        variables = [
            part for name, value in (environment or {}).items() for part in ("-e", f"{name}={value}")
        ]
        return self.compose("exec", "-T", *variables, service, *command)

    def plays(
        self, mode: str = "separate_vocal", *arguments: str, song: str = "", service: str = "sandbox"
    ) -> "Played":
        """Let a person send a song of this name and pick a mode, at the Telegram in `service`."""
        shell = ("sh", "-ec", _NEW_SONG, "sh", song or f"song-{next(_numbers)}", "--mode", mode)
        return Played(self.command("exec", "-T", service, *shell, *arguments), self.folder, self.environment)


class Played:
    """One song on its way."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""

    def arrives(self, stems: int, timeout_s: float = 300) -> str:
        """Wait until the song has ended well, with so many stems that decode; returns the player's output."""
        rest, _ = self._process.communicate(timeout=timeout_s)
        self.output += rest
        assert self._process.returncode == 0, self.output
        found = re.findall(r"│ .+ \((.+)\) +│ ([\d.]+) +│", self.output)
        assert len(found) == stems, self.output
        assert all(float(seconds) > 1 for _, seconds in found), self.output
        return self.output


def docker(*arguments: str, timeout_s: float = 600) -> str:
    """Run `docker …`; returns what it prints. Raises `AssertionError` with it when it fails."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout

"""Ctrl-C at chosen moments of a program's start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stemdrop.interrupts import INTERRUPTED

SETTINGS = {
    "TELEGRAM_BOT_TOKEN": "7000000001:AAabc-_123",
    "SEPARATION_API_KEY": "api-key-1",
    "SECRET_KEY": "secret-key-1",
    "ENGINE": "light",
}
# Sends the signal at the first audit event (docs.python.org, 'Audit events table') that begins with the first
# argument, then goes on as the module of the second one does.
PROGRAM = """
import os, runpy, signal, sys
at, module, *arguments = sys.argv[1:]
def send(event, details):
    global at
    if at and f"{event} {details[0] if details else ''}".startswith(at):
        at = ""
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(send)
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__")
"""


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize(
    ("moment", "module", "arguments"),
    [
        ("import argparse", "stemdrop", "jobs"),
        ("import telegram", "stemdrop", "up"),
        ("import webbrowser", "stemdrop", "sandbox"),
        ("import rich.console", "sandbox.play", ""),
        ("subprocess.Popen", "stemdrop", "sandbox"),
    ],
)
def test_it_ends_the_program_silently_and_leaves_nothing_behind(
    moment: str, module: str, arguments: str, tmp_path: Path
) -> None:
    variables = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), **SETTINGS}
    command = [sys.executable, "-c", PROGRAM, moment, module, *arguments.split()]
    ended = subprocess.run(
        command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (INTERRUPTED, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("heeded")
def test_it_ends_an_import_that_passes_over_exceptions(tmp_path: Path) -> None:
    """A KeyboardInterrupt would be lost in it."""
    (tmp_path / "passing.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
        "def main():\n    return 0\n"
    )
    command = [sys.executable, "-c", "from stemdrop.interrupts import run_program; run_program('passing')"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (INTERRUPTED, "", "")


@pytest.mark.usefixtures("heeded")
def test_a_program_that_was_started_with_it_ignored_goes_on(tmp_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    command = [sys.executable, "-c", PROGRAM, "import argparse", "stemdrop", "--version"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout[:9]) == (0, "stemdrop ")

"""The targets of the Makefile."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def test_make_sandbox_says_that_it_is_not_there_yet() -> None:
    """A folder of that name made it do nothing and exit 0."""
    ran = subprocess.run(
        ["make", "sandbox"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    sentence, *rest = ran.stderr.splitlines()
    assert sentence.startswith("make sandbox does not work yet")
    assert "make demo" in sentence
    assert ".venv/bin/stemdrop sandbox --song" in sentence
    assert all(line.startswith("make: ***") for line in rest)


def test_every_target_that_is_no_file_is_phony() -> None:
    """Otherwise a file or folder of its name would make it do nothing."""
    targets = set(re.findall(r"^([\w-]+):(?!=)", MAKEFILE, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert targets == set(phony.split())

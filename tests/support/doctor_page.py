"""The table of `docs/doctor.md`: the doctor's finding for each misconfiguration.

As a program, this module writes the table:

PYTHONPATH=.:tests/support .venv/bin/python tests/support/doctor_page.py
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import outside
from doctor_fixture import open_doctor_fixture
from misconfiguration import Misconfiguration
from misconfigurations import MISCONFIGURATIONS
from tones import mp3

from sandbox.environment.redis_server import RedisServer
from stemdrop.doctor.report import Finding

PATH = Path(__file__).parents[2] / "docs" / "doctor.md"
_BEGIN, _END = "<!-- written by tests/support/doctor_page.py -->", "<!-- end -->"
_HEAD = "| what is wrong | check | result | advice |\n|---|---|---|---|"


def row(text: str, finding: Finding) -> str:
    """Return the table's row for one misconfiguration and its finding."""
    return f"| {text} | {finding.subject}: {finding.check} | {finding.result} | {finding.advice} |"


def rows() -> list[str]:
    """Return the rows of the page."""
    table = PATH.read_text("utf-8").partition(_BEGIN)[2].partition(_END)[0].strip()
    assert table.startswith(_HEAD)
    return table.removeprefix(_HEAD).strip().splitlines()


def names() -> Iterator[str]:
    """Yield the names of all misconfigurations, in the page's order."""
    yield from (it.text for it in MISCONFIGURATIONS)
    yield from (it.text for it in outside.CASES)


def finding_of(case: Misconfiguration | outside.Case, findings: list[Finding]) -> Finding:
    """Return the finding that must name the misconfiguration."""
    return next(it for it in findings if f"{it.subject}: {it.check}" == case.check)


async def _run_all(folder: Path) -> list[str]:
    os.environ["SSL_CERT_FILE"] = str(folder / "authority.pem")
    told = []
    tone = mp3(folder / "tone.mp3")
    async with (
        RedisServer(folder / "redis") as server,
        open_doctor_fixture(server.url, tone, folder) as doctor_fixture,
    ):
        for misconfiguration in MISCONFIGURATIONS:
            await doctor_fixture.reset()
            async with misconfiguration.apply(doctor_fixture):
                told.append(
                    row(
                        misconfiguration.text, finding_of(misconfiguration, await doctor_fixture.run_checks())
                    )
                )
    seen = outside.run(folder)
    return told + [row(case.text, finding_of(case, seen[case.text])) for case in outside.CASES]


def main() -> None:
    """Write the table."""
    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(_run_all(Path(folder)))
    before, _, rest = PATH.read_text("utf-8").partition(_BEGIN)
    table = "\n".join([_BEGIN, _HEAD, *told, _END])
    PATH.write_text(before + table + rest.partition(_END)[2], "utf-8")


if __name__ == "__main__":
    main()

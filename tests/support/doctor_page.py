"""The table of `docs/doctor.md`: what the doctor says of every wrong set-up. As a program it writes that:

PYTHONPATH=.:tests/support .venv/bin/python tests/support/doctor_page.py
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import outside
from doctor_fixture import open_clinic
from misconfigurations import AILMENTS, Misconfiguration
from tones import mp3

from sandbox.environment.redis_server import RedisServer
from stemdrop.doctor.report import Finding

PATH = Path(__file__).parents[2] / "docs" / "doctor.md"
_BEGIN, _END = "<!-- written by tests/support/doctor_page.py -->", "<!-- end -->"
_HEAD = "| what is wrong | line | result | what it says to do |\n|---|---|---|---|"


def row(text: str, finding: Finding) -> str:
    """One wrong set-up, and the line that tells."""
    return f"| {text} | {finding.subject}: {finding.check} | {finding.result} | {finding.advice} |"


def rows() -> list[str]:
    """Those that the page has."""
    table = PATH.read_text("utf-8").partition(_BEGIN)[2].partition(_END)[0].strip()
    assert table.startswith(_HEAD)
    return table.removeprefix(_HEAD).strip().splitlines()


def names() -> Iterator[str]:
    """Of all wrong set-ups, in the page's order."""
    yield from (it.text for it in AILMENTS)
    yield from (it.text for it in outside.CASES)


def the_line(case: Misconfiguration | outside.Case, findings: list[Finding]) -> Finding:
    """The one that must tell."""
    return next(it for it in findings if f"{it.subject}: {it.check}" == case.check)


async def _examine_all(folder: Path) -> list[str]:
    os.environ["SSL_CERT_FILE"] = str(folder / "authority.pem")
    told = []
    tone = mp3(folder / "tone.mp3")
    async with (
        RedisServer(folder / "redis") as server,
        open_clinic(server.url, tone, folder) as doctor_fixture,
    ):
        for misconfiguration in AILMENTS:
            await doctor_fixture.reset()
            async with misconfiguration.spoil(doctor_fixture):
                told.append(
                    row(misconfiguration.text, the_line(misconfiguration, await doctor_fixture.examine()))
                )
    seen = outside.play(folder)
    return told + [row(case.text, the_line(case, seen[case.text])) for case in outside.CASES]


def main() -> None:
    """Write the table anew."""
    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(_examine_all(Path(folder)))
    before, _, rest = PATH.read_text("utf-8").partition(_BEGIN)
    table = "\n".join([_BEGIN, _HEAD, *told, _END])
    PATH.write_text(before + table + rest.partition(_END)[2], "utf-8")


if __name__ == "__main__":
    main()

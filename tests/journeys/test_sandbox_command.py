"""`stemdrop sandbox --song`: one played person, the stems on disk, or the reason why not."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from kinds import KINDS, record

from sandbox.listening import measure

STEMS = ("Vocals", "Drums", "Bass", "Other")


async def sandbox(*arguments: str) -> tuple[int, str, str]:
    """Run the command; returns its exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stemdrop", "sandbox", *arguments),
        env={"PATH": os.environ["PATH"]},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def test_the_stems_that_arrive_are_written_to_disk(song: Path, tmp_path: Path) -> None:
    cut = record(song, tmp_path / "Morning.mp3", KINDS["mp3"], 5)
    out = tmp_path / "stems"
    code, output, errors = await sandbox("--song", str(cut), "--mode", "split_stem", "--out", str(out))
    assert (code, errors) == (0, "")
    found = {path.name: measure(path) for path in out.iterdir()}
    names = {f"Morning ({stem}).mp3" for stem in STEMS}
    assert found == {name: pytest.approx(measure(cut), abs=0.05) for name in names}
    assert all(f"Morning ({stem})" in output for stem in STEMS)


async def test_a_file_without_sound_ends_it_with_the_reason(tmp_path: Path) -> None:
    fake = tmp_path / "song.mp3"
    fake.write_text("This is no song at all.\n" * 100)
    out = tmp_path / "stems"
    code, _, errors = await sandbox("--song", str(fake), "--mode", "separate_vocal", "--out", str(out))
    assert code == 1
    assert errors.startswith("stemdrop sandbox: I can't find any sound in this file")
    assert "Traceback" not in errors
    assert list(out.iterdir()) == []

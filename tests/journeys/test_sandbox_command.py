"""`stemdrop sandbox` and `make demo`: one played person, the stems on disk, or the reason why not; and their
ends by a signal."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from kinds import KINDS, record

from sandbox.listening import measure

STEMS = ("Vocals", "Drums", "Bass", "Other")
SANDBOX = ("stemdrop", "sandbox")
# What is told when the world is begun: here is no Redis.
NOWHERE = "redis://127.0.0.1:1/0"


async def begin(folder: Path, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
    """Start `python -m <arguments>` in `folder`; its temporary files are in `folder / "tmp"`."""
    temporary = folder / "tmp"
    temporary.mkdir()
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(temporary), **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(folder: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run it to its end; returns the exit code, output and errors. It leaves no temporary files."""
    process = await begin(folder, *arguments, **variables)
    output, errors = await process.communicate()
    assert list((folder / "tmp").iterdir()) == []
    return process.returncode or 0, output.decode(), errors.decode()


async def test_the_stems_that_arrive_are_written_to_disk_whatever_lies_there(
    song: Path, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=WARNING\nCALLBACK_HMAC_KEY=of-another\nJOB_DEADLINE=no\n")
    cut = record(song, tmp_path / "Morning.mp3", KINDS["mp3"], 5)
    arguments = ("--song", "Morning.mp3", "--mode", "split_stem", "--out", "stems")
    code, output, errors = await run(tmp_path, *SANDBOX, *arguments)
    assert (code, errors) == (0, "")
    found = {path.name: measure(path) for path in (tmp_path / "stems").iterdir()}
    names = {f"Morning ({stem}).mp3" for stem in STEMS}
    assert found == {name: pytest.approx(measure(cut), abs=0.05) for name in names}
    assert all(f"Morning ({stem})" in output for stem in STEMS)


async def test_a_file_without_sound_ends_it_with_the_reason(tmp_path: Path) -> None:
    fake = tmp_path / "song.mp3"
    fake.write_text("This is no song at all.\n" * 100)
    out = tmp_path / "stems"
    arguments = ("--song", str(fake), "--mode", "separate_vocal", "--out", str(out))
    code, _, errors = await run(tmp_path, *SANDBOX, *arguments)
    assert code == 1
    assert errors.startswith("stemdrop sandbox: I can't find any sound in this file")
    assert "Traceback" not in errors
    assert list(out.iterdir()) == []


async def test_a_stem_that_does_not_decode_ends_it_with_the_reason(song: Path, tmp_path: Path) -> None:
    record(song, tmp_path / "Morning.mp3", KINDS["mp3"], 5)
    kept = tmp_path / "stems" / "Morning (Drums).mp3"
    kept.parent.mkdir()
    kept.symlink_to("/dev/null")  # nothing of it can be read back
    arguments = ("--song", "Morning.mp3", "--mode", "split_stem")
    code, _, errors = await run(tmp_path, *SANDBOX, *arguments)
    line = "stemdrop sandbox: stems/Morning (Drums).mp3 arrived, but does not decode\n"
    assert (code, errors) == (1, line)


async def test_a_song_that_is_not_there_ends_it_before_anything_starts(tmp_path: Path) -> None:
    code, output, errors = await run(tmp_path, *SANDBOX, "--song", "none.mp3", REDIS_URL=NOWHERE)
    assert (code, output, errors) == (1, "", "stemdrop sandbox: there is no file none.mp3\n")


async def test_a_folder_as_the_song_ends_it_before_anything_starts(tmp_path: Path) -> None:
    code, output, errors = await run(tmp_path, *SANDBOX, "--song", ".", REDIS_URL=NOWHERE)
    assert (code, output, errors) == (1, "", "stemdrop sandbox: . is a folder: name one song\n")


async def test_no_redis_is_one_line(tmp_path: Path) -> None:
    code, output, errors = await run(tmp_path, *SANDBOX, REDIS_URL=NOWHERE)
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("stemdrop sandbox: REDIS_URL names a Redis that cannot be used")


async def test_no_redis_is_one_line_of_the_demo_too(tmp_path: Path) -> None:
    code, output, errors = await run(tmp_path, "sandbox.demo", REDIS_URL=NOWHERE)
    assert (code, output.count("\n"), errors) == (1, 1, "")
    assert output.startswith("The demo failed: REDIS_URL names a Redis that cannot be used")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("arguments", "begun", "number"),
    [
        (SANDBOX, "Ctrl-C ends it.", signal.SIGTERM),
        (SANDBOX, "Ctrl-C ends it.", signal.SIGINT),
        ((*SANDBOX, "--song", "song.mp3"), "song.mp3, separate_vocal", signal.SIGTERM),
        (("sandbox.demo",), "demo-song.mp3, separate_vocal", signal.SIGTERM),
        (("sandbox.demo",), "demo-song.mp3, separate_vocal", signal.SIGINT),
    ],
)
async def test_a_signal_ends_it_cleanly(
    song: Path, tmp_path: Path, arguments: tuple[str, ...], begun: str, number: signal.Signals
) -> None:
    (tmp_path / "song.mp3").symlink_to(song)
    process = await begin(tmp_path, *arguments, PYTHONUNBUFFERED="1")
    assert process.stdout is not None
    async for line in process.stdout:
        if line.decode().strip() == begun:
            break
    children = children_of(process.pid)
    assert len(children) == 3  # Redis, the separator, the product
    process.send_signal(number)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (128 + number, b"")
    assert [pid for pid in children if is_there(pid)] == []
    assert list((tmp_path / "tmp").iterdir()) == []


def is_there(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


def children_of(pid: int) -> list[str]:
    """The process ids that the kernel knows of."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]

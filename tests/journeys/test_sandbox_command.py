"""`stemdrop sandbox` and `make demo`: one played person, the stems on disk, or the reason why not; and their
ends by a signal."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from kinds import KINDS, record

from sandbox.command import stem_table
from sandbox.play.duration import measure
from sandbox.play.simulated_user import NotDeliveredError, ReceivedStem
from stemdrop import cli

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
    cut = record(song, tmp_path / "Morning.mp3", KINDS["mp3"], 2)
    arguments = ("--song", "Morning.mp3", "--mode", "split_stem")
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


def test_a_stem_that_does_not_decode_is_named(tmp_path: Path) -> None:
    cached = tmp_path / "Morning (Drums).mp3"
    cached.symlink_to("/dev/null")  # nothing of it can be read back
    with pytest.raises(NotDeliveredError, match=r"Morning \(Drums\)\.mp3 arrived, but does not decode$"):
        stem_table([ReceivedStem("Morning (Drums)", "", 5, cached)])


@pytest.mark.parametrize(
    ("song", "reason"), [("none.mp3", "there is no file none.mp3"), (".", ". is a folder: name one song")]
)
def test_what_is_no_song_ends_it_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    song: str,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["sandbox", "--song", song], {"REDIS_URL": NOWHERE}) == 1
    assert capsys.readouterr() == ("", f"stemdrop sandbox: {reason}\n")


def test_no_redis_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["sandbox"], {"REDIS_URL": NOWHERE}) == 1
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert errors.startswith("stemdrop sandbox: REDIS_URL names a Redis that cannot be used")


async def test_no_redis_is_one_line_of_the_demo_too(tmp_path: Path) -> None:
    code, output, errors = await run(tmp_path, "sandbox.play.demo", REDIS_URL=NOWHERE)
    assert (code, output.count("\n"), errors) == (1, 1, "")
    assert output.startswith("The demo failed: REDIS_URL names a Redis that cannot be used")


@pytest.mark.usefixtures("heeded")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("arguments", "begun", "number"),
    [
        (SANDBOX, "Ctrl-C ends it.", signal.SIGINT),
        ((*SANDBOX, "--song", "song.mp3"), "song.mp3, separate_vocal", signal.SIGTERM),
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
    secrets = secrets_of(children)
    assert len(secrets) == 4
    # what anybody on the machine reads with `ps`
    shown = b"".join(started_with(pid, "cmdline") for pid in (str(process.pid), *children))
    assert b"stemdrop" in shown
    assert [secret for secret in secrets if secret in shown] == []
    process.send_signal(number)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (128 + number, b"")
    assert [pid for pid in children if is_there(pid)] == []
    assert list((tmp_path / "tmp").iterdir()) == []


def started_with(pid: str, what: str) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


def secrets_of(pids: list[str]) -> set[bytes]:
    """Token, keys and Redis' password, as these processes are given them."""
    pairs = [pair for pid in pids for pair in started_with(pid, "environ").split(b"\0") if b"=" in pair]
    given = dict(pair.split(b"=", 1) for pair in pairs)
    password = urlsplit(given[b"REDIS_URL"].decode()).password or ""
    names = (b"TELEGRAM_BOT_TOKEN", b"SEPARATION_API_KEY", b"SECRET_KEY")
    return {password.encode(), *(given[name] for name in names)} - {b""}


def is_there(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


def children_of(pid: int) -> list[str]:
    """The process ids that the kernel knows of."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]


async def test_a_telegram_alone_opens_to_whoever_has_its_key(tmp_path: Path) -> None:
    variables = {"TELEGRAM_BOT_TOKEN": "42:no-secret", "SANDBOX_KEY": "the-key"}
    (tmp_path / "a").mkdir()
    process = await begin(tmp_path / "a", *SANDBOX, "--listen", "127.0.0.1:0", **variables)
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().split()[-1]
        async with httpx.AsyncClient(base_url=url) as http:
            me = await http.get("/bot42:no-secret/getMe")
            assert me.json()["result"]["id"] == 42
        for name, key, reason in (
            ("b", "another", "the access key is missing or wrong"),
            ("c", "", "SANDBOX_KEY is not set"),
        ):
            (tmp_path / name).mkdir()
            code, _, errors = await run(tmp_path / name, *SANDBOX, "--telegram", url, SANDBOX_KEY=key)
            assert code == 1
            assert reason in errors
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("address", ["8081", "127.0.0.1:http"])
def test_an_address_that_is_none_is_named(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        cli.run(["sandbox", "--listen", address], {})
    assert ending.value.code == 2
    assert "write HOST:PORT" in capsys.readouterr().err

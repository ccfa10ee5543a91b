"""`stemdrop sandbox` and `make demo`: stems on disk or the reason why not, and a clean end by a signal."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from kinds import KINDS, record
from process_pool import ForkedProcess, ForkingProcess
from tones import beginning_with_tags

from sandbox.environment.process import Process
from sandbox.play import demo
from sandbox.play.duration import measure
from sandbox.play.simulated_user import NotDeliveredError, ReceivedStem
from sandbox.play.terminal_output import plain_console, print_stems
from stemdrop import cli

STEMS = ("Vocals", "Drums", "Bass", "Other")
# No Redis listens there.
NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """The environment variables of a command, whose temporary files are in `tmp_path / "tmp"`."""
    (tmp_path / "tmp").mkdir()
    proxies = {"ALL_PROXY": "nonsense", "HTTPS_PROXY": "socks9://me:word@:x", "http_proxy": "127.0.0.1:9"}
    return {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path / "tmp"), "ENGINE": "light", **proxies}


async def test_the_stems_are_written_to_disk(song: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    # settings of another stemdrop, in the folder where the command runs
    (tmp_path / ".env").write_text("LOG_LEVEL=WARNING\nCALLBACK_HMAC_KEY=of-another\nJOB_DEADLINE=no\n")
    cut = record(song, tmp_path / "Morning.mp3", KINDS["mp3"], 2)
    arguments = ["sandbox", "--song", "Morning.mp3", "--mode", "split_stem"]
    process = ForkingProcess(arguments, variables, tmp_path / "log", cwd=tmp_path)
    process.start()
    assert await process.wait(200) == 0, process.output()
    found = {path.name: measure(path) for path in (tmp_path / "stems").iterdir()}
    names = {f"Morning ({stem}).mp3" for stem in STEMS}
    assert found == {name: pytest.approx(measure(cut), abs=0.05) for name in names}
    output = process.output()
    assert output.startswith("Morning.mp3, split_stem\n")
    assert all(f"Morning ({stem})" in output for stem in STEMS)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_stem_that_does_not_decode_is_named(tmp_path: Path) -> None:
    path = tmp_path / "Morning (Drums).mp3"
    path.symlink_to("/dev/null")
    with pytest.raises(NotDeliveredError, match=r"Morning \(Drums\)\.mp3 arrived, but does not decode$"):
        print_stems(plain_console(), [ReceivedStem("Morning (Drums)", path)])


@pytest.mark.parametrize("columns", ["40", "80"])
def test_the_table_breaks_no_path_and_takes_titles_as_they_are(
    columns: str,
    song: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    folder = tmp_path / "a folder whose name is longer than most terminals are wide, [bold] and :cat:"
    folder.mkdir()
    files = [folder / "[live] Song (Vocals).mp3", folder / f"{'On and on ' * 12} (Drums).mp3"]
    for file in files:
        file.symlink_to(song)
    print_stems(plain_console(), [ReceivedStem(file.stem, file) for file in files])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [str(file) for file in files]
    assert max(map(len, lines[:-2])) <= int(columns)
    first, second = (line for line in lines if "30.00" in line)
    assert re.match(r"│ \[live\] Song[^│]*│ 30\.00 ", first)
    assert re.match(r"│ On and on .*… │ 30\.00 ", second)


def test_the_demo_tells_the_quality_of_one_mode_after_the_other(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENGINE", "light")
    beginning_with_tags(song, tmp_path / "stem.mp3", 10)  # the vocals begin after nine seconds
    stems = []
    for mode, names in {
        "separate_vocal": ("Vocals", "Instrumental"),
        "split_stem": ("Vocals", "Bass"),
    }.items():
        (tmp_path / mode).mkdir()
        for name in names:
            stems.append(ReceivedStem(f"Song ({name})", tmp_path / mode / f"{name}.mp3"))
            stems[-1].path.symlink_to(tmp_path / "stem.mp3")
    demo._print_quality(plain_console(), stems)
    figure = r"-?\d+\.\d"
    assert re.fullmatch(
        rf"Engine light; signal to distortion in dB: separate_vocal: vocals {figure}, instrumental {figure}; "
        rf"split_stem: vocals {figure}, bass {figure}\.\n",
        capsys.readouterr().out,
    )


@pytest.mark.parametrize(
    ("song", "reason"), [("none.mp3", "there is no file none.mp3"), (".", ". is a folder: name one song")]
)
def test_a_missing_song_ends_the_command_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    song: str,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["sandbox", "--song", song], {"REDIS_URL": NO_REDIS}) == 1
    assert capsys.readouterr() == ("", f"stemdrop sandbox: {reason}\n")


@pytest.mark.parametrize(
    "arguments", [["--mode", "split_stem_advanced"], ["--mode", "split_stem", "--instrument", "Bass"]]
)
def test_one_instrument_needs_its_mode_and_its_name(
    arguments: list[str], song: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["sandbox", "--song", str(song), *arguments], {"REDIS_URL": NO_REDIS}) == 1
    assert "--mode split_stem_advanced and --instrument NAME go together" in capsys.readouterr().err


def test_an_unreachable_redis_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "REDIS_URL names a Redis that cannot be used"
    assert cli.run(["sandbox"], {"REDIS_URL": NO_REDIS}) == 1
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert errors.startswith(f"stemdrop sandbox: {reason}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", NO_REDIS)
    monkeypatch.setenv("ENGINE", "light")
    assert demo.main() == 1
    output, errors = capsys.readouterr()
    assert (output.count("\n"), errors) == (1, "")
    assert output.startswith(f"The demo failed: {reason}")


@pytest.mark.usefixtures("heeded")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_serves_until_ctrl_c_and_leaves_nothing_behind(
    song: Path,
    tmp_path: Path,
    variables: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "stemdrop", "sandbox"],
        cwd=tmp_path,
        env={**variables, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    request.addfinalizer(process.terminate)  # of a test that fails before it stops the command
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(3)]
    assert lines[0] == "The separator's engine: light."
    assert lines[2] == "Press Ctrl-C to stop; nothing is left behind."
    page = lines[1].removeprefix("Open ")
    url, key = page.split("/#")

    no_song = tmp_path / "song.mp3"
    no_song.write_text("This is no song at all.\n" * 100)
    out = tmp_path / "stems"
    arguments = ["sandbox", "--telegram", url, "--song", str(no_song), "--out", str(out)]
    assert cli.run(arguments, {"SANDBOX_KEY": key}) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("stemdrop sandbox: I can't find any sound in this file")
    assert "Traceback" not in errors
    assert list(out.iterdir()) == []
    cut = record(song, tmp_path / "Morning.mp3", KINDS["mp3"], 2)
    plays_one_instrument(url, key, cut, out, capsys)

    children = children_of(process.pid)
    assert len(children) == 3  # Redis, the separator, stemdrop
    secrets = secrets_of(children)
    assert len(secrets) == 4
    command_lines = b"".join(read_proc(pid, "cmdline") for pid in (str(process.pid), *children))
    assert b"stemdrop" in command_lines
    assert [secret for secret in (*secrets, key.encode()) if secret in command_lines] == []

    for _ in range(2):  # the second one does not interrupt the clean-up
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (128 + signal.SIGINT, "")
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert list((tmp_path / "tmp").iterdir()) == []


def plays_one_instrument(
    url: str, key: str, song: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sandbox", "--telegram", url, "--song", str(song), "--out", str(out)]
    arguments += ["--mode", "split_stem_advanced", "--instrument"]
    assert cli.run([*arguments, "bass"], {"SANDBOX_KEY": key}) == 0
    assert {path.name for path in out.iterdir()} == {"Morning (Bass).mp3", "Morning (Without Bass).mp3"}
    capsys.readouterr()
    assert cli.run([*arguments, "Kazoo"], {"SANDBOX_KEY": key}) == 1
    there_is = "there is no instrument Kazoo, only Bass, Lead vocal, Drums"
    assert capsys.readouterr().err == f"stemdrop sandbox: {there_is}\n"


def read_proc(pid: str, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def secrets_of(pids: list[str]) -> set[bytes]:
    """The token, the keys and the password of Redis in the environment variables of these processes."""
    pairs = [pair for pid in pids for pair in read_proc(pid, "environ").split(b"\0") if b"=" in pair]
    given = dict(pair.split(b"=", 1) for pair in pairs)
    password = urlsplit(given[b"REDIS_URL"].decode()).password or ""
    names = (b"TELEGRAM_BOT_TOKEN", b"SEPARATION_API_KEY", b"SECRET_KEY")
    return {password.encode(), *(given[name] for name in names)} - {b""}


def children_of(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]


async def begin_telegram(folder: Path) -> tuple[Process, str]:
    """Start the local Telegram alone; returns its process and its URL."""
    variables = {"PATH": os.environ["PATH"], "TELEGRAM_BOT_TOKEN": "42:no-secret", "SANDBOX_KEY": "the-key"}
    process = ForkedProcess(["sandbox", "--listen", "127.0.0.1:0"], variables, folder / "log", cwd=folder)
    process.start()
    return process, (await process.wait_for(r"The local Telegram is ready at (\S+)\n")).group(1)


async def test_the_local_telegram_runs_alone_until_sigterm(tmp_path: Path) -> None:
    process, url = await begin_telegram(tmp_path)
    try:
        async with httpx.AsyncClient(base_url=url) as http:
            me = await http.get("/bot42:no-secret/getMe")
            assert me.json()["result"]["id"] == 42
            assert (await http.get("/chat/chats", headers={"X-Sandbox-Key": "another"})).status_code == 403
            assert (await http.get("/chat/chats", headers={"X-Sandbox-Key": "the-key"})).status_code == 200
            assert f"Open {url}/#the-key\n" in process.output()
            assert (await http.get("/")).headers["content-type"] == "text/html; charset=utf-8"
    finally:
        assert await process.stop() == 128 + signal.SIGTERM


def test_playing_at_a_telegram_elsewhere_needs_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["sandbox", "--telegram", "http://127.0.0.1:1"], {}) == 1
    assert "SANDBOX_KEY is not set" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["8081", "127.0.0.1:http", "127.0.0.1:99999"])
def test_a_malformed_address_is_refused(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        cli.run(["sandbox", "--listen", address], {})
    assert ending.value.code == 2
    assert "write HOST:PORT" in capsys.readouterr().err

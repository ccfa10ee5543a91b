"""What survives: a server that is stopped or killed goes on with its tasks when it is started again."""

import argparse
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.environment.ports import free_port
from separator.command import add_arguments, run

Start = Callable[..., AbstractContextManager[Any]]

# What `stemdrop separator` does, without the rest of stemdrop.
COMMAND = """
import argparse, os, sys
from separator.command import add_arguments, run
parser = argparse.ArgumentParser()
add_arguments(parser)
sys.exit(run(parser.parse_args(), os.environ))
"""
ENVIRONMENT = {"SEPARATION_API_KEY": "the-secret-key", "CALLBACK_HMAC_KEY": "the-hmac-key"}
BEARER = {"Authorization": "Bearer the-secret-key"}


def _command(*options: str, environ: dict[str, str], cwd: Path, **more: Any) -> "subprocess.Popen[str]":
    root = Path(__file__).resolve().parents[2]
    inherited = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root)}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *options], env=inherited | environ, cwd=cwd, text=True, **more
    )


@contextmanager
def _server(tmp_path: Path, poll: Any) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """The command at work: its process, its address, its log."""
    log = tmp_path / "log"
    with log.open("w") as out:
        options = ("--host", "127.0.0.1", "--port", "0", "--data", "data")
        process = _command(*options, environ=ENVIRONMENT, cwd=tmp_path, stderr=out, stdout=out)
    try:
        line = poll(
            lambda: next(
                (line for line in log.read_text().splitlines() if "separator ready at " in line), None
            ),
            "the ready line",
        )
        yield process, line.rsplit(" ", 1)[1], log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def _create(origin: str, outside: Any, source: str) -> str:
    fields = {"audioUrl": source, "type": "separate_vocal", "callBackUrl": outside.callback_url}
    url = f"{origin}/api/v1/vocal-removal/generate"
    answer = httpx.post(url, json=fields, headers=BEARER, timeout=30).json()
    assert answer["code"] == 200, answer
    return str(answer["data"]["taskId"])


def test_a_stopped_server_goes_on_where_it_was(
    start: Start, outside: Any, poll: Any, short_song: bytes
) -> None:
    waiting = {
        "audioUrl": outside.source(short_song, way="gated"),
        "type": "separate_vocal",
        "callBackUrl": outside.callback_url,
    }
    with start() as separator:
        finished = separator.task(**(waiting | {"audioUrl": outside.source(short_song, "ready.mp3")}))
        before = separator.ended(finished)
        poll(lambda: len(outside.callbacks) == 1, "the first callback")
        pending = separator.task(**waiting)
        poll(lambda: "song.mp3" in outside.asked, "the fetch")
    outside.gate.set()
    with start() as separator:
        assert separator.record(finished)["response"] == before["response"]
        assert separator.ended(pending)["successFlag"] == "SUCCESS"
        poll(lambda: len(outside.callbacks) == 2, "the second callback")
    assert [body["data"]["task_id"] for _, body in outside.callbacks] == [finished, pending]


def test_a_callback_that_was_due_is_sent_by_the_next_server(
    start: Start, outside: Any, poll: Any, short_song: bytes
) -> None:
    outside.answers = [500]
    with start(callback_pauses_s=(600,)) as separator:
        task_id = separator.task(
            audioUrl=outside.source(short_song), type="separate_vocal", callBackUrl=outside.callback_url
        )
        poll(lambda: outside.callbacks, "the first attempt")
    assert len(outside.callbacks) == 1
    with start():
        poll(lambda: len(outside.callbacks) == 2, "the second attempt")
    assert [body["data"]["task_id"] for _, body in outside.callbacks] == [task_id] * 2
    assert len(outside.asked) == 1, "it was separated again"


def test_a_killed_server_goes_on_where_it_was(
    tmp_path: Path, outside: Any, poll: Any, demo_song: Path, engine_processes: Any
) -> None:
    song = demo_song.read_bytes()
    source = outside.source(song[: len(song) * 2 // 3])
    with _server(tmp_path, poll) as (process, origin, _):
        task_id = _create(origin, outside, source)
        (engine,) = poll(lambda: engine_processes(process.pid), "the engine")
        work = tmp_path / "data" / "work"
        poll(lambda: list(work.glob("*/*.mp3")), "the engine's first file")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        poll(lambda: not _is_alive(engine), "the engine's end")
    with _server(tmp_path, poll):
        poll(lambda: outside.callbacks, "the callback")
    body = outside.callbacks[0][1]
    assert (body["code"], body["data"]["task_id"]) == (200, task_id)
    assert not list(work.iterdir())


def _is_alive(process: int) -> bool:
    """Not ended, and not a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_task_that_keeps_killing_the_server_is_given_up(
    tmp_path: Path, outside: Any, poll: Any, short_song: bytes
) -> None:
    source = outside.source(short_song, way="gated")
    for attempt in range(1, 4):
        with _server(tmp_path, poll) as (process, origin, _):
            if attempt == 1:
                task_id = _create(origin, outside, source)
            poll(lambda: len(outside.asked) == attempt, "the fetch")  # noqa: B023
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    outside.gate.set()
    with _server(tmp_path, poll):
        poll(lambda: outside.callbacks, "the callback")
    assert outside.callbacks[0][1]["code"] == 500
    assert outside.callbacks[0][1]["data"]["task_id"] == task_id


def test_sigterm_ends_the_server_cleanly_in_the_middle_of_a_task(
    tmp_path: Path, outside: Any, poll: Any, demo_song: Path
) -> None:
    with _server(tmp_path, poll) as (process, origin, log):
        _create(origin, outside, outside.source(demo_song.read_bytes()))
        poll(lambda: list((tmp_path / "data" / "work").glob("*/source")), "the source")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        text = log.read_text()
    assert "Traceback" not in text
    assert outside.callbacks == []


def test_the_log_holds_no_secret_and_no_address(
    tmp_path: Path, outside: Any, poll: Any, short_song: bytes
) -> None:
    with _server(tmp_path, poll) as (_, origin, log):
        _create(origin, outside, outside.source(short_song, "private-name.mp3"))
        poll(lambda: outside.callbacks, "the callback")
        text = log.read_text()
    assert f"separator ready at {origin}" in text
    assert "done" in text
    for secret in (*ENVIRONMENT.values(), "private-name", "/callback"):
        assert secret not in text


@pytest.mark.parametrize(
    ("environ", "port", "word"),
    [({}, "0", "SEPARATION_API_KEY"), ({"SEPARATION_API_KEY": "k"}, "99999", "99999")],
)
def test_a_wrong_setting_ends_the_process(
    tmp_path: Path, environ: dict[str, str], port: str, word: str
) -> None:
    process = _command("--port", port, environ=environ, cwd=tmp_path, stderr=subprocess.PIPE)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert word in errors
    assert errors.count("\n") == 1, errors


@pytest.mark.parametrize(
    ("environ", "options", "word"),
    [
        ({"SEPARATION_API_KEY": ""}, (), "SEPARATION_API_KEY"),
        ({"SEPARATION_API_KEY": "k", "LISTEN_PORT": "many"}, None, "LISTEN_PORT"),
        ({"SEPARATION_API_KEY": "k"}, ("--data", "/proc/nowhere"), "--data"),
        ({"SEPARATION_API_KEY": "k"}, ("--engine-runs", "0"), "--engine-runs"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environ: dict[str, str],
    options: tuple[str, ...] | None,
    word: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    # which the command sets for good
    monkeypatch.setattr(logging.getLogger("httpx"), "level", logging.WARNING)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    port = () if options is None else ("--port", "0")
    assert run(parser.parse_args([*port, *(options or ())]), environ) == 2
    errors = capsys.readouterr().err
    assert word in errors
    assert errors.count("\n") == 1, errors


def test_a_data_folder_has_one_server(tmp_path: Path, poll: Any) -> None:
    with _server(tmp_path, poll):
        second = _command(
            "--port", "0", "--data", "data", environ=ENVIRONMENT, cwd=tmp_path, stderr=subprocess.PIPE
        )
        _, errors = second.communicate(timeout=20)
    assert second.returncode == 2
    assert "in use" in errors


def test_the_host_and_port_come_from_the_environment(tmp_path: Path, poll: Any) -> None:
    port = free_port()
    environ = ENVIRONMENT | {"LISTEN_HOST": "127.0.0.1", "LISTEN_PORT": str(port)}
    with (tmp_path / "log").open("w") as log:
        process = _command("--data", "data", environ=environ, cwd=tmp_path, stderr=log)
    try:
        answer = poll(lambda: _credit(f"http://127.0.0.1:{port}"), "the server")
        assert answer["data"] > 0
    finally:
        process.terminate()
        assert process.wait(20) == 0


def _credit(origin: str) -> dict[str, Any] | None:
    try:
        return dict(httpx.get(f"{origin}/api/v1/generate/credit", headers=BEARER, timeout=30).json())
    except httpx.ConnectError:
        return None

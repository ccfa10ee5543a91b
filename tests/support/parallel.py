"""Runs the tests in several processes (`-n 8`), which are forked after everything was imported and collected.

Each worker of pytest-xdist imports and collects all tests again, which costs more than most files take to
run.
"""

import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from types import FrameType
from typing import Any

import pytest
from process_pool import serve_process_pool

from sandbox.environment.ports import own_ports

# Session fixtures that cost little: their tests may run in several workers.
_CHEAP = {
    *("_authority", "_newest_redis", "_redis_client", "event_loop_policy", "tone", "redis_server"),
    "tmp_path_factory",
}
_GROUP_SIZE = 12
# One worker runs all tests that use it, so that there is one browser.
_BROWSER = "browser"
# Folders of tests that mostly wait, for leases, polls and flood limits; these tests are few and long.
WAITING = ("journeys", "faults")
_NUMBER = struct.Struct("!I")


def add_option(parser: pytest.Parser) -> None:
    """Add `-n`."""
    parser.getgroup("parallel")._addoption(
        "-n", "--workers", type=int, default=0, help="run the tests in this many processes"
    )


def group_tests(items: Sequence[pytest.Item]) -> list[list[pytest.Item]]:
    """Put tests that share a fixture into one group; return the groups in the order in which they are to run.

    The stories in the browser are the first group, since they take the longest. Groups that mostly wait are
    spread over the first part of the run, so that no core is idle meanwhile.
    """
    groups: dict[bool, list[list[pytest.Item]]] = {True: [], False: []}
    stories = [item for item in items if _BROWSER in _fixtures(item)]
    for path, tests in groupby(
        (item for item in items if _BROWSER not in _fixtures(item)), key=lambda item: item.path
    ):
        waits = path.parent.name in WAITING
        groups[waits] += _split(list(tests), 1 if waits else _GROUP_SIZE)
    spread = [*_spread(groups[True], 0.7), *_spread(groups[False], 1)]
    first = [stories] if stories else []
    return first + [group for _, group in sorted(spread, key=lambda placed: placed[0])]


def _split(tests: list[pytest.Item], size: int) -> Iterator[list[pytest.Item]]:
    if any(_shares_fixtures(test) for test in tests):
        yield tests
    else:
        yield from (tests[start : start + size] for start in range(0, len(tests), size))


def _shares_fixtures(test: pytest.Item) -> bool:
    return any(
        fixtures[-1].scope != "function" for name, fixtures in _fixtures(test).items() if name not in _CHEAP
    )


def _fixtures(test: pytest.Item) -> dict[str, Sequence[pytest.FixtureDef[Any]]]:
    known: dict[str, Sequence[pytest.FixtureDef[Any]]] = test._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
    return known


def _spread(groups: list[list[pytest.Item]], end: float) -> Iterator[tuple[float, list[pytest.Item]]]:
    for number, group in enumerate(groups):
        yield end * number / len(groups), group


def run_tests(session: pytest.Session) -> bool | None:
    """Run the collected tests in workers, as the hook `pytest_runtestloop` does in one process."""
    count = session.config.getoption("--workers")
    if count < 2 or session.config.option.collectonly or session.testsfailed:
        return None
    groups = group_tests(session.items)
    reading, writing = os.pipe()  # of the numbers of the groups that are still to run
    os.write(writing, b"".join(_NUMBER.pack(number) for number in range(len(groups))))
    os.close(writing)
    capture = session.config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()
    with serve_process_pool():
        workers = [_Worker(session, groups, reading, number) for number in range(min(count, len(groups)))]
        capture.start_global_capturing()
        capture.suspend_global_capture()
        os.close(reading)
        _Results(session, groups, workers).collect()
    return True


class _Worker:
    """The parent's view of a forked process that runs groups."""

    def __init__(
        self, session: pytest.Session, groups: list[list[pytest.Item]], queue: int, number: int
    ) -> None:
        self.connection, theirs = socket.socketpair()
        self.group: int | None = None
        self._received = b""
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                self.connection.close()
                _work(session, groups, queue, theirs, number)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        theirs.close()

    def receive(self) -> Iterator[tuple[str, Any]]:
        """Read what has come; raises `EOFError` when the worker has ended."""
        received = self.connection.recv(1 << 20)
        if not received:
            raise EOFError
        self._received += received
        while len(self._received) >= _NUMBER.size:
            end = _NUMBER.size + _NUMBER.unpack_from(self._received)[0]
            if len(self._received) < end:
                return
            message, self._received = self._received[_NUMBER.size : end], self._received[end:]
            yield pickle.loads(message)


class _Results:
    """Hands the workers' reports to pytest's plugins."""

    def __init__(
        self, session: pytest.Session, groups: list[list[pytest.Item]], workers: Iterable[_Worker]
    ) -> None:
        self._session = session
        self._hook = session.config.hook
        self._groups = groups
        self._workers = list(workers)
        self._missing = {item.nodeid: item for item in session.items}

    def collect(self) -> None:
        """Read until all workers have ended."""
        terminal = self._session.config.pluginmanager.getplugin("terminalreporter")
        terminal.showfspath = False
        try:
            with selectors.DefaultSelector() as selector:
                for worker in self._workers:
                    selector.register(worker.connection, selectors.EVENT_READ, worker)
                while selector.get_map():
                    for key, _ in selector.select():
                        if not self._read(key.data):
                            selector.unregister(key.data.connection)
                    if self._session.shouldfail:
                        raise self._session.Failed(self._session.shouldfail)
        finally:
            for worker in self._workers:
                worker.connection.close()
                if self._session.shouldfail:
                    os.kill(worker.pid, signal.SIGTERM)
                os.waitpid(worker.pid, 0)
        self._fail(self._missing.values(), "no worker has run it")

    def _read(self, worker: _Worker) -> bool:
        try:
            for kind, data in worker.receive():
                if kind == "group":
                    worker.group = data
                elif kind == "finish":
                    self._missing.pop(data[0], None)
                    self._hook.pytest_runtest_logfinish(nodeid=data[0], location=data[1])
                else:
                    config = self._session.config
                    report = self._hook.pytest_report_from_serializable(config=config, data=data)
                    self._hook.pytest_runtest_logreport(report=report)
        except (EOFError, ConnectionError):
            if worker.group is not None:
                left = [item for item in self._groups[worker.group] if item.nodeid in self._missing]
                self._fail(left, "the worker that ran it, or a test before it, has died")
            return False
        return True

    def _fail(self, items: Iterable[pytest.Item], reason: str) -> None:
        for item in list(items):
            del self._missing[item.nodeid]
            report = pytest.TestReport(item.nodeid, item.location, {}, "failed", reason, "call")
            self._hook.pytest_runtest_logreport(report=report)


class _Reporter:
    """Sends a worker's reports to the parent, except for passed set-ups and tear-downs that are not timed."""

    def __init__(self, config: pytest.Config, connection: socket.socket) -> None:
        self._config = config
        self._connection = connection
        self._is_timed = config.getoption("durations") is not None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and report.when != "call" and not self._is_timed:
            return
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self.send("report", data)

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self.send("finish", (nodeid, location))

    def send(self, kind: str, data: object) -> None:
        """Send one message."""
        message = pickle.dumps((kind, data))
        self._connection.sendall(_NUMBER.pack(len(message)) + message)


def _take_own_ports(number: int, workers: int) -> None:
    """Give a worker its own ports, so that no server opens a port that another worker has just chosen."""
    own_ports.candidates = own_ports.candidates[number::workers]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _work(
    session: pytest.Session,
    groups: list[list[pytest.Item]],
    queue: int,
    connection: socket.socket,
    number: int,
) -> None:
    config = session.config
    plugins = config.pluginmanager
    capture = plugins.getplugin("capturemanager")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # In place of Python's own handler asyncio would set one, and reset it, for each fixture and test.
        signal.signal(signal.SIGINT, _interrupt)
    capture.start_global_capturing()  # into files of its own
    capture.suspend_global_capture()
    plugins.unregister(plugins.getplugin("terminalreporter"))
    folders = config._tmp_path_factory  # type: ignore[attr-defined]
    folders._basetemp = folders.mktemp(f"worker-{number}", numbered=False)
    _take_own_ports(number, config.getoption("--workers"))
    reporter = _Reporter(config, connection)
    plugins.register(reporter)
    while read := os.read(queue, _NUMBER.size):
        (group,) = _NUMBER.unpack(read)
        reporter.send("group", group)
        tests = groups[group]
        # The session is the parent of all tests: after the last one of a group only session fixtures stay.
        for test, following in zip(tests, [*tests[1:], session], strict=True):
            config.hook.pytest_runtest_protocol(item=test, nextitem=following)
            if session.shouldfail:
                return
    session._setupstate.teardown_exact(None)
    capture.stop_global_capturing()

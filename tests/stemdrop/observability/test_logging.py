"""The log: its format, the job that each line names, and tracebacks without secrets."""

import asyncio
import io
import json
import logging
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from telegram.error import InvalidToken, NetworkError

from stemdrop.log_context import bind_job, job_context
from stemdrop.observability.logging import set_up_logging

TOKEN = "7000000001:AAabcdefghijklmnopqrstuvwxyz-_12345"
SECRETS = (TOKEN, "api-key-1", 'se"cr\\et & key\tü', "hmac", "pass%20word")

Written = Callable[[], str]


@pytest.fixture(params=["console", "json"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def written(form: str) -> Iterator[Written]:
    """The text that was logged at INFO and above."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers = root.handlers[:]
    root.handlers.clear()
    set_up_logging("INFO", form, SECRETS, stream)
    yield stream.getvalue
    root.handlers[:] = handlers


def assert_hidden(text: str) -> None:
    assert "***" in text
    for secret in SECRETS:
        forms = {
            secret,
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            repr(secret)[1:-1],
        }
        assert not [found for found in forms if found in text], text


def caught(error: Exception) -> Exception:
    """The exception after it was raised, so that it has a traceback."""
    try:
        raise error  # noqa: TRY301
    except Exception as same:
        return same


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_in_a_message_is_hidden(written: Written, secret: str) -> None:
    logging.getLogger("bot").warning(f"calling https://api/bot{secret}/getMe")
    for how in ("%s", "%r"):
        logging.getLogger("bot").warning("calling " + how, secret)
        logging.getLogger("bot").warning("calling " + how, {"headers": [secret]})
    assert_hidden(written())


def test_text_from_outside_begins_no_line(written: Written) -> None:
    logging.getLogger("worker").warning("refused: %s", "no\n2026 INFO bot: \x1b[31mall is well\r")
    assert written().count("\n") == 1
    assert not {"\x1b", "\r"} & set(written())


@pytest.mark.parametrize("form", ["console"], indirect=True)
def test_text_of_an_exception_looks_like_no_line(written: Written) -> None:
    error = caught(ValueError("no\n2026 INFO bot: \x1b[31mall is well\r\u2028\u202e"))
    logging.getLogger("worker").error("failed", exc_info=error)
    first, *rest = written().rstrip("\n").split("\n")
    assert first.endswith("failed")
    assert [line for line in rest if not line.startswith("  ") or not line.isprintable()] == []
    assert any("2026 INFO bot:" in line for line in rest)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_traceback_is_logged_without_secrets(written: Written, tmp_path: Path, secret: str) -> None:
    """The secret is in the exception's text, cause, context, note and group, and in the source code."""
    path = tmp_path / "source.py"
    path.write_text(f"raise RuntimeError({secret!r})  # {secret!r}\n", "utf-8")
    try:
        try:
            try:
                runpy.run_path(str(path))
            except RuntimeError as error:
                raise ValueError(f"context: {secret}") from error
        except ValueError:
            raise ExceptionGroup("several", [KeyError(secret), OSError(f"https://me:{secret}@host")])  # noqa: B904
    except ExceptionGroup as group:
        group.add_note(f"with {secret!r}")
        logging.getLogger("bot").exception("failed")
    text = written()
    assert_hidden(text)
    parts = (
        "failed",
        "source.py",
        "RuntimeError",
        "ValueError: context",
        "KeyError",
        "OSError: https",
        "with",
    )
    assert [part for part in parts if part not in text] == []
    assert text.count("Traceback (most recent call last)") == 3


def test_a_library_exception_text_is_hidden(written: Written) -> None:
    error = caught(InvalidToken(f"The token `{TOKEN}` was rejected by the server."))
    logging.getLogger("stemdrop.serve").error("refused: %s", error, exc_info=error)
    assert "InvalidToken" in written()
    assert_hidden(written())


def test_every_secret_in_a_line_is_hidden(written: Written) -> None:
    logging.getLogger("bot").warning("%s and %s and %s", TOKEN, "api-key-1", TOKEN)
    assert_hidden(written())
    assert written().count("***") == 3


@pytest.mark.parametrize("form", ["json"], indirect=True)
def test_json_is_one_object_per_line(written: Written) -> None:
    logging.getLogger("bot").warning("a\nb “ü” %s", SECRETS[2])
    logging.getLogger("bot").error("c", exc_info=caught(ValueError("d")))
    first, second = [json.loads(line) for line in written().splitlines()]
    assert (first["level"], first["logger"], first["message"]) == ("WARNING", "bot", "a\nb “ü” ***")
    assert first["time"]
    assert second["message"] == "c"
    assert second["exc_info"].endswith("ValueError: d")


async def test_http_calls_are_not_logged(written: Written) -> None:
    """At INFO httpx writes URLs, which hold the bot's token."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    async with httpx.AsyncClient(transport=transport, verify=False) as client:
        await client.get(f"https://api.telegram.org/bot{TOKEN}/getMe")
    assert written() == ""


@pytest.mark.parametrize("name", ["docket.worker", "telegram.ext"])
def test_a_failure_that_a_library_retries_is_logged_without_a_traceback(written: Written, name: str) -> None:
    for error in (NetworkError("no"), RedisConnectionError("no"), TimeoutError(), httpx.ConnectError("no")):
        logging.getLogger(name).error("next try in 1 s", exc_info=caught(error))
    assert "Traceback" not in written()
    assert written().count("next try") == 4


@pytest.mark.parametrize("name", ["docket.worker", "telegram.ext"])
def test_an_unexpected_exception_in_a_library_is_logged_with_its_traceback(
    written: Written, name: str
) -> None:
    logging.getLogger(name).error("the loop failed", exc_info=caught(KeyError(TOKEN)))
    assert written().count("Traceback") == 1
    assert_hidden(written())


@pytest.mark.parametrize("form", ["console"], indirect=True)
def test_the_level_holds(written: Written) -> None:
    logging.getLogger("bot").debug("quiet")
    logging.getLogger("bot").info("loud")
    assert "quiet" not in written()
    assert written().endswith("INFO    bot: loud\n")


def fields(written: Written) -> list[tuple[str, str | None, str | None]]:
    lines = [json.loads(line) for line in written().splitlines()]
    return [(line["message"], line.get("job"), line.get("task_id")) for line in lines]


@pytest.mark.parametrize("form", ["json"], indirect=True)
async def test_lines_name_the_bound_job(written: Written) -> None:
    ours, library = logging.getLogger("bot"), logging.getLogger("some.library")

    async def deeper() -> None:
        library.warning("deeper")
        await asyncio.to_thread(library.warning, "in a thread")

    with job_context("a" * 16):
        ours.info("begun")
        bind_job("a" * 16, "task-1")
        await asyncio.gather(deeper(), deeper())
        with job_context("b" * 16, "task-2"):
            library.warning("another")
        with job_context():
            library.warning("of none")
        bind_job("a" * 16)
        ours.info("job %s: of one, amid another", "c" * 16)
        ours.info("job %s: the same", "a" * 16)
        bind_job("d" * 16)
        ours.info("changed")
    ours.info("ended")
    a, deep = "a" * 16, [(text, "a" * 16, "task-1") for text in ("deeper", "in a thread")]
    lines = fields(written)
    assert sorted(lines[1:5]) == sorted(deep * 2)
    assert [lines[0], *lines[5:]] == [
        ("begun", a, None),
        ("another", "b" * 16, "task-2"),
        ("of none", None, None),
        (f"job {'c' * 16}: of one, amid another", "c" * 16, None),
        (f"job {a}: the same", a, "task-1"),
        ("changed", "d" * 16, None),
        ("ended", None, None),
    ]


@pytest.mark.parametrize("form", ["json"], indirect=True)
async def test_concurrent_tasks_name_their_own_jobs(written: Written) -> None:
    async def work(job_id: str) -> None:
        bind_job(job_id)
        await asyncio.sleep(0)
        logging.getLogger("bot").info("for %s", job_id)

    await asyncio.gather(*(work(f"job-{number}") for number in range(5)))
    assert sorted(fields(written)) == [(f"for job-{n}", f"job-{n}", None) for n in range(5)]


@pytest.mark.parametrize("form", ["console"], indirect=True)
def test_the_console_format_has_no_job_fields(written: Written) -> None:
    with job_context("a" * 16, "task-1"):
        logging.getLogger("bot").info("job %s: begun", "a" * 16)
    assert written().endswith(f"INFO    bot: job {'a' * 16}: begun\n")


@pytest.mark.parametrize("endpoint", ["source", "callback"])
def test_link_tokens_are_hidden_in_every_spelling(written: Written, endpoint: str) -> None:
    """A provider may repeat links in a query string or inside JSON."""
    token = "abcdefghijkl.awgtag.fh1sky-_" * 3
    slashes = ["/", r"\/", r"\\\/", "%2F", "%2f", "%252F"]
    for slash in slashes:
        link = f"{slash}h{slash}{endpoint}{slash}{token}{slash}audio.mp3"
        logging.getLogger("test").warning("refused: https:%s", link)
    assert token not in written()
    assert written().count("audio.mp3") == len(slashes)

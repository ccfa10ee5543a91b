"""Nothing secret is written, however it got into a line."""

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator

import httpx
import pytest
from telegram.error import InvalidToken

from stemdrop.log_context import bind_job, job_context
from stemdrop.observability.logging import set_up_logging

TOKEN = "7000000001:AAabcdefghijklmnopqrstuvwxyz-_12345"
SECRETS = (TOKEN, "api-key-1", 'se"cr\\et & key\tü', "hmac", "pass%20word")

Written = Callable[[], str]


def failing(error: Exception) -> None:
    raise error


@pytest.fixture(params=["console", "json"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def written(form: str) -> Iterator[Written]:
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {
        name: logging.getLogger(name).level for name in ("httpx", "httpcore", "telegram", "asyncio", "docket")
    }
    for handler in handlers:
        root.removeHandler(handler)
    set_up_logging("DEBUG", form, SECRETS, stream)
    yield stream.getvalue
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


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


@pytest.mark.parametrize("secret", SECRETS)
def test_in_a_message(written: Written, secret: str) -> None:
    logging.getLogger("bot").warning(f"calling https://api/bot{secret}/getMe")
    assert_hidden(written())


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("how", ["%s", "%r"])
def test_in_an_argument(written: Written, secret: str, how: str) -> None:
    logging.getLogger("bot").warning("calling " + how, secret)
    logging.getLogger("bot").warning("calling " + how, {"headers": [secret]})
    assert_hidden(written())


@pytest.mark.parametrize("secret", SECRETS)
def test_in_an_exception(written: Written, secret: str) -> None:
    try:
        failing(ValueError(f"no such key: {secret}"))
    except ValueError:
        logging.getLogger("bot").exception("failed")
    assert "ValueError" in written()
    assert_hidden(written())


def test_in_the_librarys_own_words(written: Written) -> None:
    try:
        failing(InvalidToken(f"The token `{TOKEN}` was rejected by the server."))
    except InvalidToken as error:
        logging.getLogger("stemdrop.serve").error("refused: %s", error)
        logging.getLogger("stemdrop.serve").error("refused", exc_info=error)
    assert_hidden(written())


def test_twice_in_one_line(written: Written) -> None:
    logging.getLogger("bot").warning("%s and %s and %s", TOKEN, "api-key-1", TOKEN)
    assert_hidden(written())
    assert written().count("***") == 3


@pytest.mark.parametrize("form", ["json"], indirect=True)
def test_json_is_one_object_a_line(written: Written) -> None:
    logging.getLogger("bot").warning("a\nb “ü” %s", SECRETS[2])
    logging.getLogger("bot").error("c")
    first, second = [json.loads(line) for line in written().splitlines()]
    assert (first["level"], first["logger"], first["message"]) == ("WARNING", "bot", "a\nb “ü” ***")
    assert first["time"]
    assert second["message"] == "c"


async def test_http_calls_are_silent(written: Written) -> None:
    """At INFO httpx writes URLs, and the bot's token is in them."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    async with httpx.AsyncClient(transport=transport, verify=False) as client:
        await client.get(f"https://api.telegram.org/bot{TOKEN}/getMe")
    assert written() == ""


def test_no_tracebacks_of_libraries(written: Written) -> None:
    try:
        failing(ValueError("inner"))
    except ValueError:
        logging.getLogger("docket.worker").exception("a task failed")
        logging.getLogger("telegram.ext").exception("an update failed")
    assert "Traceback" not in written()
    assert "a task failed" in written()


def test_the_level_holds() -> None:
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    for handler in handlers:
        root.removeHandler(handler)
    try:
        set_up_logging("WARNING", "console", (), stream)
        logging.getLogger("bot").info("quiet")
        logging.getLogger("bot").warning("loud")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert "quiet" not in stream.getvalue()
    assert stream.getvalue().endswith("WARNING bot: loud\n")


def fields(written: Written) -> list[tuple[str, str | None, str | None]]:
    lines = [json.loads(line) for line in written().splitlines()]
    return [(line["message"], line.get("job"), line.get("task_id")) for line in lines]


@pytest.mark.parametrize("form", ["json"], indirect=True)
async def test_lines_name_the_job_that_the_work_is_about(written: Written) -> None:
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
async def test_work_side_by_side_keeps_its_jobs_apart(written: Written) -> None:
    async def work(job_id: str) -> None:
        bind_job(job_id)
        await asyncio.sleep(0)
        logging.getLogger("bot").info("for %s", job_id)

    await asyncio.gather(*(work(f"job-{number}") for number in range(5)))
    assert sorted(fields(written)) == [(f"for job-{n}", f"job-{n}", None) for n in range(5)]


@pytest.mark.parametrize("form", ["console"], indirect=True)
def test_for_eyes_the_line_stays_as_it_is(written: Written) -> None:
    with job_context("a" * 16, "task-1"):
        logging.getLogger("bot").info("job %s: begun", "a" * 16)
    assert written().endswith(f"INFO    bot: job {'a' * 16}: begun\n")


@pytest.mark.parametrize("room", ["source", "callback"])
@pytest.mark.parametrize("slash", ["/", r"\/", r"\\\/", "%2F", "%2f", "%252F"])
def test_links_are_hidden_in_every_spelling(written: Written, room: str, slash: str) -> None:
    """A provider may repeat them, from a query or within JSON."""
    token = "abcdefghijkl.awgtag.fh1sky-_" * 3
    logging.getLogger("test").warning(
        "refused: https:%s", f"{slash}h{slash}{room}{slash}{token}{slash}audio.mp3"
    )
    said = written()
    assert token not in said
    assert "audio.mp3" in said

"""Nothing secret is written, however it got into a line."""

import io
import json
import logging
from collections.abc import Callable, Iterator

import httpx
import pytest
from telegram.error import InvalidToken

from stemdrop.logs import set_up_logging

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

"""Captures uvicorn's error log, which pytest captures only of servers that were started before the test."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_CUT = "ASGI callable returned without completing response."


@contextmanager
def no_server_errors(caplog: pytest.LogCaptureFixture, *, is_cut: bool = False) -> Iterator[None]:
    """Check that a running server logs no error in the block, except a cut answer if `is_cut`."""
    logger = logging.getLogger("uvicorn")
    is_heard = caplog.handler in logger.handlers
    if not is_heard:
        logger.addHandler(caplog.handler)
    try:
        yield
    finally:
        if not is_heard:
            logger.removeHandler(caplog.handler)
    errors = [record.getMessage() for record in caplog.records if record.levelno > logging.WARNING]
    assert errors == ([_CUT] if is_cut else []), errors

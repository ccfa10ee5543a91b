"""Checks uvicorn's error log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_CUT = "ASGI callable returned without completing response."


@contextmanager
def no_server_errors(caplog: pytest.LogCaptureFixture, *, is_cut: bool = False) -> Iterator[None]:
    """Check that a running server logs no error in the block, except a cut answer if `is_cut`."""
    yield
    errors = [record.getMessage() for record in caplog.records if record.levelno > logging.WARNING]
    assert errors == ([_CUT] if is_cut else []), errors

"""Lets a connection to Redis that is left open tell where it was made, in the warning that fails a test.

The garbage collector finds such a connection later, often while another test runs.
"""

import os
import sys
from traceback import walk_stack
from typing import Any

from redis.asyncio.connection import Connection

_make, _pieces = Connection.__init__, Connection.repr_pieces


def name_their_makers() -> None:
    """Patch redis-py's connections; a second call changes nothing more."""
    Connection.__init__ = _make_named  # type: ignore[method-assign]
    Connection.repr_pieces = _named_pieces  # type: ignore[method-assign]


def _make_named(self: Connection, **options: Any) -> None:
    _make(self, **options)
    codes = [frame.f_code for frame, _ in walk_stack(sys._getframe(1))]
    callers = [code.co_qualname for code in codes if "/redis/" not in code.co_filename]
    self.__dict__["made_in"] = os.environ.get("PYTEST_CURRENT_TEST"), callers[:6]


def _named_pieces(self: Connection) -> Any:
    return [*_pieces(self), ("made_in", self.__dict__.get("made_in"))]  # type: ignore[no-untyped-call]

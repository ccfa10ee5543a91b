"""Bytes that take long to make: the first test process that needs them makes them for all."""

import os
import pickle
import tempfile
from collections.abc import Callable
from functools import wraps
from hashlib import sha1
from pathlib import Path
from typing import ParamSpec

_P = ParamSpec("_P")
_folder: Path | None = None


def share_in(folder: Path) -> None:
    """Keep what is made in this folder, which must be new; processes that are forked later share it."""
    global _folder  # noqa: PLW0603 - one for all test processes
    _folder = folder


def made_once(make: Callable[_P, bytes]) -> Callable[_P, bytes]:
    """Let a function that always returns the same for equal arguments run once for each of them."""

    @wraps(make)
    def made(*args: _P.args, **kwargs: _P.kwargs) -> bytes:
        if _folder is None:
            return make(*args, **kwargs)
        asked = pickle.dumps((make.__module__, make.__qualname__, args, sorted(kwargs.items())))
        path = _folder / sha1(asked, usedforsecurity=False).hexdigest()
        try:
            return path.read_bytes()
        except FileNotFoundError:
            content = make(*args, **kwargs)
        number, name = tempfile.mkstemp(dir=_folder)
        with os.fdopen(number, "wb") as file:
            file.write(content)
        os.replace(name, path)  # atomic, so that no process reads half of it
        return content

    return made

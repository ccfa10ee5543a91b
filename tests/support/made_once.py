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
_kept: dict[str, bytes] = {}  # while there is no folder


def share_in(folder: Path) -> None:
    """Keep what is made in this folder, which must be new; processes that are forked later share it."""
    global _folder  # noqa: PLW0603 - one for all test processes
    _folder = folder


def made_once(make: Callable[_P, bytes]) -> Callable[_P, bytes]:
    """Let a function that always returns the same for equal arguments run once for each of them."""

    @wraps(make)
    def made(*args: _P.args, **kwargs: _P.kwargs) -> bytes:
        asked = pickle.dumps((make.__module__, make.__qualname__, args, sorted(kwargs.items())))
        name = sha1(asked, usedforsecurity=False).hexdigest()
        if _folder is None:
            if name not in _kept:
                _kept[name] = make(*args, **kwargs)
            return _kept[name]
        path = _folder / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            content = make(*args, **kwargs)
        number, unfinished = tempfile.mkstemp(dir=_folder)
        with os.fdopen(number, "wb") as file:
            file.write(content)
        os.replace(unfinished, path)  # atomic, so that no process reads half of it
        return content

    return made

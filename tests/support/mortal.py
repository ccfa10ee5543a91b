"""A process of the product that kills itself at a named point.

A point is `<thing>.<step>:before` or `:after`: each atomic step of a store, each task added, each call of
Telegram, of the separation API and of whoever serves stems. They are found in the classes themselves, so
that a new step is a new point. `STEMDROP_DIE_AT` names the point; `STEMDROP_POINTS` a file to which those
that are passed are written.
"""

import functools
import inspect
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from stemdrop.engine import Engine
from stemdrop.separation import SeparationClient
from stemdrop.shelf import Shelf
from stemdrop.store import JobStore
from stemdrop.telegram import RateLimiter, TelegramFiles
from webhook.fetch import StemFetcher


def _pass(point: str) -> None:
    if points := os.environ.get("STEMDROP_POINTS"):
        with open(points, "a") as file:
            file.write(f"{point}\n")
    if point == os.environ.get("STEMDROP_DIE_AT"):
        os.kill(os.getpid(), signal.SIGKILL)


def _mortal(name: str, step: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(step)
    async def run(*args: Any, **kwargs: Any) -> Any:
        _pass(f"{name}:before")
        result = await step(*args, **kwargs)
        _pass(f"{name}:after")
        return result

    return run


def _steps(kind: type) -> Iterator[tuple[str, Callable[..., Awaitable[Any]]]]:
    for name, step in vars(kind).items():
        if inspect.iscoroutinefunction(step) and not name.startswith("_"):
            yield name, step


def make_mortal() -> None:
    """Of this process."""
    for kind in (JobStore, Shelf, SeparationClient, TelegramFiles, StemFetcher):
        for name, step in _steps(kind):
            setattr(kind, name, _mortal(f"{kind.__name__}.{name}", step))

    add = Engine.add

    async def mortal_add(engine: Engine, task: Any, key: str, argument: str) -> None:
        await _mortal(f"Engine.add({task})", add)(engine, task, key, argument)

    Engine.add = mortal_add  # type: ignore[method-assign]
    call = RateLimiter.process_request

    async def mortal_call(limiter: RateLimiter, *args: Any, **kwargs: Any) -> Any:
        endpoint = kwargs.get("endpoint") or args[3]
        return await _mortal(f"Telegram.{endpoint}", call)(limiter, *args, **kwargs)

    RateLimiter.process_request = mortal_call  # type: ignore[method-assign]

"""A process of the product that kills itself at a named point.

A point is `<class>.<step>:before` or `:after`. The steps are the public coroutines and contexts of `KINDS`
(the `:after` of a context is when it has been entered), each move of a job or remix by its new state, each
added task by its kind, and each method of Telegram. They are found in the classes and in the calls of the
code, so that a new step is a new point; `steps` returns all of them. A process kills itself when it first
passes the point that `STEMDROP_DIE_AT` names; `<point>#2` is the second time. `STEMDROP_POINTS` is a file to
which all passed points are written.
"""

import ast
import functools
import inspect
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from telegram import Bot
from telegram.ext import ExtBot

from stemdrop.chat.telegram_bot import RateLimiter
from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.domain.jobs import JobState
from stemdrop.domain.recipes import RemixState
from stemdrop.provider.sunoapi.client import SeparationClient
from stemdrop.storage.circuits import Circuits
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.remixes import Remixes
from stemdrop.storage.stem_cache import StemCache
from stemdrop.tasks.engine import Engine, Task
from worker.fail_over import FailOver
from worker.remix_files import RemixMaker
from worker.stems.fetcher import StemFetcher

KINDS = (
    *(JobStore, StemCache, Remixes, Circuits, FailOver),
    *(SeparationClient, TelegramFiles, StemFetcher, RemixMaker),
)
_ROOT = Path(__file__).resolve().parent.parent.parent
_PACKAGES = ("stemdrop", "bot", "webhook", "worker")
_MOVE, _MOVE_REMIX = "JobStore.move", "Remixes.move"
# A remix gets into its other states only by a fault.
_REMIX_STATES = (RemixState.SENDING, RemixState.SENT, RemixState.CANCELLED)
# Each method of the Bot API begins with one of these.
_VERBS = ("send_", "edit_", "answer_", "get_", "set_", "delete_", "copy_", "forward_", "leave_", "pin_")

# How often each point was passed.
_passed: Counter[str] = Counter()


def _pass(point: str) -> None:
    _passed[point] += 1
    if points := os.environ.get("STEMDROP_POINTS"):
        with open(points, "a") as file:
            file.write(f"{point}\n")
    if os.environ.get("STEMDROP_DIE_AT") in (point, f"{point}#{_passed[point]}"):
        os.kill(os.getpid(), signal.SIGKILL)


def _with_points(name: str, step: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(step)
    async def run(*args: Any, **kwargs: Any) -> Any:
        _pass(f"{name}:before")
        result = await step(*args, **kwargs)
        _pass(f"{name}:after")
        return result

    return run


def _with_points_context(
    name: str, step: Callable[..., AbstractAsyncContextManager[Any]]
) -> Callable[..., AbstractAsyncContextManager[Any]]:
    @asynccontextmanager
    async def run(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        _pass(f"{name}:before")
        async with step(*args, **kwargs) as entered:
            _pass(f"{name}:after")
            yield entered

    return run


def _steps(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for owner in kind.__mro__:
        for name, step in vars(owner).items():
            if not name.startswith("_") and (inspect.iscoroutinefunction(step) or _is_context(step)):
                yield name, step


def _is_context(step: object) -> bool:
    return callable(step) and inspect.isasyncgenfunction(inspect.unwrap(step))


def steps() -> set[str]:
    """Return the names of all steps, whether or not a scenario passes them."""
    found = {f"{kind.__name__}.{name}" for kind in KINDS for name, _ in _steps(kind)}
    found -= {_MOVE, _MOVE_REMIX}
    found |= {f"{_MOVE_REMIX}({state})" for state in _REMIX_STATES}
    found |= {f"Engine.add({task})" for task in Task}
    for package in _PACKAGES:
        for path in (_ROOT / package).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                    found |= _named_in(call.func.attr, call)
    return found


def _named_in(name: str, call: ast.Call) -> set[str]:
    """Return the states to which a call moves a job, or the method of Telegram that it calls."""
    if name == "move":
        states = [arg for arg in call.args if isinstance(arg, ast.Attribute)]
        return {f"{_MOVE}({JobState[state.attr]})" for state in states if state.attr in JobState.__members__}
    if name.startswith(_VERBS) and inspect.iscoroutinefunction(getattr(Bot, name, None)):
        first, *rest = name.split("_")
        return {f"Telegram.{first}{''.join(word.capitalize() for word in rest)}"}
    return set()


def install_kill_points() -> None:
    """Wrap all steps, so that this process writes down its points and kills itself at the named one."""
    for kind in KINDS:
        for name, step in _steps(kind):
            make = _with_points_context if _is_context(step) else _with_points
            setattr(kind, name, make(f"{kind.__name__}.{name}", step))

    move = inspect.unwrap(JobStore.move)

    async def move_with_points(store: JobStore, *args: Any, **changes: Any) -> Any:
        _, _, to_state, *_ = args
        return await _with_points(f"{_MOVE}({to_state})", move)(store, *args, **changes)

    JobStore.move = move_with_points  # type: ignore[method-assign,assignment]
    move_remix = inspect.unwrap(Remixes.move)

    async def move_remix_with_points(remixes: Remixes, remix: Any, to: RemixState, *args: Any) -> Any:
        return await _with_points(f"{_MOVE_REMIX}({to})", move_remix)(remixes, remix, to, *args)

    Remixes.move = move_remix_with_points  # type: ignore[method-assign,assignment]
    add = Engine.add

    async def add_with_points(engine: Engine, task: Any, key: str, argument: str) -> None:
        await _with_points(f"Engine.add({task})", add)(engine, task, key, argument)

    Engine.add = add_with_points  # type: ignore[method-assign,assignment]
    call = RateLimiter.process_request

    async def call_with_points(limiter: RateLimiter, *args: Any, **kwargs: Any) -> Any:
        endpoint = kwargs.get("endpoint") or args[3]
        return await _with_points(f"Telegram.{endpoint}", call)(limiter, *args, **kwargs)

    RateLimiter.process_request = call_with_points  # type: ignore[method-assign,assignment]
    # this call does not go through the limiter
    ExtBot.get_updates = _with_points("Telegram.getUpdates", ExtBot.get_updates)  # type: ignore[assignment,method-assign]

"""A process of the product that kills itself at a named point.

A point is `<thing>.<step>:before` or `:after`: each public coroutine of the stores of jobs and of kept
stems, of the separation API's client, of who reads users' files and of who fetches stems; each of their
contexts (its `:after` is when it has been entered); each move, by the state it leads to; each task added, by
its kind; and each method of Telegram. Steps are found in the classes themselves and in the calls that the
code makes, so that a new one is a new point; `steps` names them all, passed or not. A process kills itself
where it passes its point for the first time. `STEMDROP_DIE_AT` names that point; `STEMDROP_POINTS` is a file
to which those that are passed are written.
"""

import ast
import functools
import inspect
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from telegram import Bot
from telegram.ext import ExtBot

from stemdrop.chat.telegram_bot import RateLimiter
from stemdrop.chat.telegram_files import TelegramFiles
from stemdrop.domain.jobs import JobState
from stemdrop.provider.client import SeparationClient
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.stem_cache import StemCache
from stemdrop.tasks.engine import Engine, Task
from worker.stems.fetcher import StemFetcher

KINDS = (JobStore, StemCache, SeparationClient, TelegramFiles, StemFetcher)
_ROOT = Path(__file__).resolve().parent.parent.parent
_PACKAGES = ("stemdrop", "bot", "webhook", "worker")
_MOVE = "JobStore.move"
# As they are called; what begins otherwise is no call of the Bot API.
_VERBS = ("send_", "edit_", "answer_", "get_", "set_", "delete_", "copy_", "forward_", "leave_", "pin_")


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


def _mortal_context(
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
    """Every outside call and every step of a store that the product can take, as points name them."""
    found = {f"{kind.__name__}.{name}" for kind in KINDS for name, _ in _steps(kind)} - {_MOVE}
    found |= {f"Engine.add({task})" for task in Task}
    for package in _PACKAGES:
        for path in (_ROOT / package).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                    found |= _named_in(call.func.attr, call)
    return found


def _named_in(name: str, call: ast.Call) -> set[str]:
    """The states to which a call moves a job, or the method of Telegram that it calls."""
    if name == "move":
        states = [arg for arg in call.args if isinstance(arg, ast.Attribute)]
        return {f"{_MOVE}({JobState[state.attr]})" for state in states if state.attr in JobState.__members__}
    if name.startswith(_VERBS) and inspect.iscoroutinefunction(getattr(Bot, name, None)):
        first, *rest = name.split("_")
        return {f"Telegram.{first}{''.join(word.capitalize() for word in rest)}"}
    return set()


def make_mortal() -> None:
    """Let this process kill itself at its point."""
    for kind in KINDS:
        for name, step in _steps(kind):
            make = _mortal_context if _is_context(step) else _mortal
            setattr(kind, name, make(f"{kind.__name__}.{name}", step))

    move = inspect.unwrap(JobStore.move)

    async def mortal_move(store: JobStore, *args: Any, **changes: Any) -> Any:
        _, _, to_state, *_ = args
        return await _mortal(f"{_MOVE}({to_state})", move)(store, *args, **changes)

    JobStore.move = mortal_move  # type: ignore[method-assign,assignment]
    add = Engine.add

    async def mortal_add(engine: Engine, task: Any, key: str, argument: str) -> None:
        await _mortal(f"Engine.add({task})", add)(engine, task, key, argument)

    Engine.add = mortal_add  # type: ignore[method-assign,assignment]
    call = RateLimiter.process_request

    async def mortal_call(limiter: RateLimiter, *args: Any, **kwargs: Any) -> Any:
        endpoint = kwargs.get("endpoint") or args[3]
        return await _mortal(f"Telegram.{endpoint}", call)(limiter, *args, **kwargs)

    RateLimiter.process_request = mortal_call  # type: ignore[method-assign,assignment]
    # the one that the limiter does not see
    ExtBot.get_updates = _mortal("Telegram.getUpdates", ExtBot.get_updates)  # type: ignore[assignment,method-assign]

"""What a wrong set-up is to a test; `ailments.py` has them all."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from clinic import Clinic
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from stemdrop.doctor.report import Result

Spoil = Callable[[Clinic], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Ailment:
    """`check` is `subject: line`; `also` are lines that the same thing makes bad. `found` is part of what the
    line tells, `advice` the beginning of what it says to do."""

    text: str
    check: str
    found: str
    advice: str
    result: Result
    also: tuple[str, ...]
    spoil: Spoil
    module: str


_KNOWN: list[Ailment] = []


def ailment(
    text: str,
    check: str,
    found: str,
    advice: str,
    *,
    result: Result = Result.WRONG,
    also: Sequence[str] = (),
) -> Callable[[Callable[[Clinic], AsyncIterator[None]]], Spoil]:
    """What the function below does to a clinic that is well."""

    def add(function: Callable[[Clinic], AsyncIterator[None]]) -> Spoil:
        spoil = asynccontextmanager(function)
        _KNOWN.append(Ailment(text, check, found, advice, result, tuple(also), spoil, function.__module__))
        return spoil

    return add


def ailments_of(module: ModuleType) -> list[Ailment]:
    """Those that a module describes, in its order."""
    return [it for it in _KNOWN if it.module == module.__name__]


def everywhere(answer: Callable[[Request], Any]) -> ASGIApp:
    """A server that answers everything with this."""
    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "HEAD"])])

"""What a wrong set-up is to a test; `ailments.py` has them all."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from doctor_fixture import DoctorFixture
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from stemdrop.doctor.report import Result

Spoil = Callable[[DoctorFixture], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Misconfiguration:
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


_KNOWN: list[Misconfiguration] = []


def misconfiguration(
    text: str,
    check: str,
    found: str,
    advice: str,
    *,
    result: Result = Result.WRONG,
    also: Sequence[str] = (),
) -> Callable[[Callable[[DoctorFixture], AsyncIterator[None]]], Spoil]:
    """What the function below does to a clinic that is well."""

    def add(function: Callable[[DoctorFixture], AsyncIterator[None]]) -> Spoil:
        spoil = asynccontextmanager(function)
        _KNOWN.append(
            Misconfiguration(text, check, found, advice, result, tuple(also), spoil, function.__module__)
        )
        return spoil

    return add


def ailments_of(module: ModuleType) -> list[Misconfiguration]:
    """Those that a module describes, in its order."""
    return [it for it in _KNOWN if it.module == module.__name__]


def everywhere(answer: Callable[[Request], Any]) -> ASGIApp:
    """A server that answers everything with this."""
    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "HEAD"])])

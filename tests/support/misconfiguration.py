"""One misconfiguration that the doctor must report; `misconfigurations.py` lists all of them."""

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

from stemdrop.doctor.report import CheckResult

Apply = Callable[[DoctorFixture], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Misconfiguration:
    """One misconfiguration and the finding that must report it.

    `check` is `subject: check`; `also` lists other checks that fail for the same reason. `found` is a part of
    the finding's text, `advice` the beginning of its advice.
    """

    text: str
    check: str
    found: str
    advice: str
    result: CheckResult
    also: tuple[str, ...]
    apply: Apply
    module: str


_KNOWN: list[Misconfiguration] = []


def misconfiguration(
    text: str,
    check: str,
    found: str,
    advice: str,
    *,
    result: CheckResult = CheckResult.WRONG,
    also: Sequence[str] = (),
) -> Callable[[Callable[[DoctorFixture], AsyncIterator[None]]], Apply]:
    """Register the decorated function, which misconfigures a healthy set-up until it is resumed."""

    def add(function: Callable[[DoctorFixture], AsyncIterator[None]]) -> Apply:
        apply = asynccontextmanager(function)
        _KNOWN.append(
            Misconfiguration(text, check, found, advice, result, tuple(also), apply, function.__module__)
        )
        return apply

    return add


def misconfigurations_of(module: ModuleType) -> list[Misconfiguration]:
    """Return the misconfigurations of a module, in its order."""
    return [it for it in _KNOWN if it.module == module.__name__]


def everywhere(answer: Callable[[Request], Any]) -> ASGIApp:
    """Return a server that answers every request with `answer`."""
    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "HEAD"])])

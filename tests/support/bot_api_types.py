"""Checks that what a local Telegram sends has the Bot API's types, as two libraries for bots define them.

aiogram's types refuse unknown fields and wrong types, and python-telegram-bot's name unknown fields. Each
shape of an object is checked once in a process, so that all tests can afford it.
"""

import inspect
import json
import re
from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any

import telegram as ptb
from pydantic import TypeAdapter, ValidationError

from sandbox.telegram.state import BotCall, TelegramState
from sandbox.telegram.updates import Updates

_UPDATE = "Update"  # stands for an update where a method's name is expected
# Fields of Bot API 10.1 to 10.3, which python-telegram-bot 22.8 does not know yet.
_NEWER_FIELDS = {"can_send_welcome_messages"}
_seen: set[Hashable] = set()
_problems: list[str] = []


def watch_local_telegrams() -> None:
    """Check from now on what every local Telegram of this process sends. Call it once."""
    log_call, add_update = TelegramState.log_call, Updates.add

    def log(self: TelegramState, call: BotCall) -> None:
        log_call(self, call)
        # Updates were checked when they were queued, and tests also queue malformed ones.
        if call.status == 200 and call.method != "getUpdates":
            _check(call.method, call.answer)

    def add(self: Updates, kind: str, content: dict[str, Any]) -> None:
        number = self.next_id
        add_update(self, kind, content)
        if self.next_id != number:  # otherwise the bot has not asked for that kind
            _check(_UPDATE, {"update_id": number, kind: content})

    TelegramState.log_call = log  # type: ignore[method-assign]
    Updates.add = add  # type: ignore[method-assign]


def take_problems() -> list[str]:
    """Return the problems since the last call, one text for each object."""
    found = _problems[:]
    _problems.clear()
    return found


def load_types() -> None:
    """Load aiogram's types, which takes two seconds, before other processes are forked."""
    _returned_type(_UPDATE)


def type_problems(method: str, sent: Any) -> Iterator[str]:
    """Yield the problems of an answer of a Bot API method, or of an update (`method` is Update)."""
    yield from (f"{path} is null" for path in _nulls(sent))
    try:
        yield from (f"{path} is unknown" for path in _unknown_fields(_parsed(method, sent)))
    except (TypeError, ValueError, KeyError) as error:
        yield f"python-telegram-bot: {error!r}"
    adapter = _returned_type(method)
    if adapter is None:
        return
    try:
        found = adapter.validate_python(sent, extra="forbid")
    except ValidationError as error:
        yield f"aiogram: {error}"
        return
    # A number as a string is converted, and so comes back different.
    again = adapter.dump_python(found, by_alias=True, exclude_unset=True)
    if _json(again) != _json(sent):
        yield f"aiogram reads it as {_json(again)}"


def _check(method: str, sent: Any) -> None:
    key = (method, _shape(sent))
    if key not in _seen:
        _seen.add(key)
        _problems.extend(f"{method}: {problem}\n{_json(sent)}" for problem in type_problems(method, sent))


def _shape(value: Any, name: str = "") -> Hashable:
    """Return the names and types of all fields, and the values of those that tell one type from another."""
    if isinstance(value, dict):
        return tuple((key, _shape(inner, key)) for key, inner in value.items())
    if isinstance(value, list):
        return (list, *dict.fromkeys(map(_shape, value)))
    return str(value) if name in ("type", "status") else type(value).__name__


def _nulls(value: Any, path: str = "result") -> Iterator[str]:
    if value is None:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, found in inner:
        yield from _nulls(found, f"{path}.{key}")


@cache
def _returned_type(method: str) -> TypeAdapter[Any] | None:
    """Return aiogram's type of an answer; None where there is no aiogram, as with Python 3.15."""
    try:
        from aiogram import methods, types
    except ImportError:
        return None
    if method == _UPDATE:
        return TypeAdapter(types.Update)
    return TypeAdapter(getattr(methods, method[0].upper() + method[1:]).__returning__)


def _parsed(method: str, sent: Any) -> Any:
    """Return python-telegram-bot's object for an answer."""
    parser = _parser(method)
    if parser is None or isinstance(sent, bool):
        return sent
    return parser.de_list(sent, None) if isinstance(sent, list) else parser.de_json(sent, None)


@cache
def _parser(method: str) -> type[ptb.TelegramObject] | None:
    if method == _UPDATE:
        return ptb.Update
    function = getattr(ptb.Bot, re.sub(r"(?=[A-Z])", "_", method).lower())
    names = re.findall(r"\w+", str(inspect.signature(function).return_annotation))
    found = (getattr(ptb, name, None) for name in names)
    return next(
        (kind for kind in found if isinstance(kind, type) and issubclass(kind, ptb.TelegramObject)), None
    )


def _unknown_fields(value: Any, path: str = "result") -> Iterator[str]:
    if isinstance(value, ptb.TelegramObject):
        yield from (f"{path}.{name}" for name in value.api_kwargs if name not in _NEWER_FIELDS)
        for kind in type(value).__mro__:
            for name in getattr(kind, "__slots__", ()):
                if not name.startswith("_"):
                    yield from _unknown_fields(getattr(value, name, None), f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _unknown_fields(inner, f"{path}.{number}")


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)

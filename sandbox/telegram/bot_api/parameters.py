"""The parameters of one Bot API call, each checked against its type.

`sandbox.telegram.bot_api.methods` names each method's parameters; this module has the types. Telegram ignores
an unknown parameter; here it is refused, since it may be a misspelling.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from sandbox.telegram.errors import ApiError, bad_request


@dataclass(frozen=True)
class Upload:
    name: str
    file_name: str
    file: BinaryIO
    size_bytes: int


@dataclass
class Call:
    """One call with checked parameters; `arguments` holds only those that were sent."""

    method: str
    arguments: dict[str, Any]
    uploads: dict[str, Upload]
    wait_disconnect: Callable[[], Awaitable[None]]
    used_uploads: set[str] = field(default_factory=set)

    def get(self, name: str) -> Any:
        return self.arguments.get(name)

    def upload(self, name: str) -> Upload | None:
        """Return the uploaded part of that name and mark it as used."""
        self.used_uploads.add(name)
        return self.uploads.get(name)

    def refuse_unused_uploads(self) -> None:
        """Raise 400 for an uploaded part that no parameter refers to. Call it before any effect."""
        if unused := self.uploads.keys() - self.used_uploads:
            raise bad_request(f'uploaded part "{sorted(unused)[0]}" is not referred to')


Kind = Callable[[Any], Any]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method.

    `kind` converts the sent value or raises ValueError. `missing` is the error text for a required parameter
    that is absent or empty.
    """

    name: str
    kind: Kind
    required: bool = False
    missing: str = ""


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("String")  # noqa: TRY004 - one exception for all kinds
    return value


def integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value):
        return int(value)
    raise ValueError("Integer")


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("Boolean")


def json_object(value: Any) -> dict[str, Any]:
    decoded = _decoded(value)
    if not isinstance(decoded, dict):
        raise ValueError("JSON object")  # noqa: TRY004
    return decoded


def json_array(value: Any) -> list[Any]:
    decoded = _decoded(value)
    if not isinstance(decoded, list):
        raise ValueError("JSON array")  # noqa: TRY004
    return decoded


def chat_reference(value: Any) -> int | str:
    """Accept an id or any text; the local Telegram finds a chat by its id only."""
    try:
        return integer(value)
    except ValueError:
        return string(value)


def input_file(value: Any) -> str | Upload:
    """Accept a file_id, a URL, an attach:// or file:// name, or the uploaded part itself."""
    return value if isinstance(value, Upload) else string(value)


def check_arguments(
    method: str, parameters: tuple[Parameter, ...], sent: Mapping[str, Any], uploads: Mapping[str, Upload]
) -> dict[str, Any]:
    """Return the typed arguments by name; an uploaded part can be an argument. Raises 400."""
    if unknown := sent.keys() - {parameter.name for parameter in parameters}:
        raise bad_request(f'unknown parameter "{sorted(unknown)[0]}" of {method}')
    arguments: dict[str, Any] = {}
    for parameter in parameters:
        value = sent.get(parameter.name)
        if value is None and parameter.kind is input_file:
            value = uploads.get(parameter.name)
        if value is None or (value == "" and parameter.required):
            if parameter.required:
                raise bad_request(parameter.missing or f"{parameter.name} is required")
            continue
        arguments[parameter.name] = typed(parameter.name, parameter.kind, value)
    return arguments


def refuse_unknown_keys(value: Mapping[str, Any], known: set[str], what: str) -> None:
    """Raise 400 for a field of a JSON object that is not in `known`; `what` names the object."""
    if unknown := value.keys() - known:
        raise bad_request(f'unknown field "{sorted(unknown)[0]}" in {what}')


def typed(name: str, kind: Kind, value: Any) -> Any:
    """Return a value converted by `kind`. Raises 400 that names the parameter or field."""
    try:
        return kind(value)
    except ValueError as error:
        raise wrong_type(name, str(error)) from error


def wrong_type(name: str, expected: str) -> ApiError:
    if name == "reply_markup":
        return bad_request("can't parse reply keyboard markup JSON object")
    if name == "media":
        return bad_request("can't parse media JSON object")
    return bad_request(f'parameter "{name}" must be of type {expected}')


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError, and 400 for a lone surrogate."""
    try:
        return sendable(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ValueError("JSON") from error


def sendable(value: Any) -> Any:
    """Return `value` if JSON in UTF-8 can hold it. Raises ValueError, and 400 for a lone surrogate."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise bad_request("strings must be encoded in UTF-8") from error
    return value


def _decoded(value: Any) -> Any:
    return parse_json(value) if isinstance(value, str) else value

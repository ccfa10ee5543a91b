"""Validation of create requests; each refusal names the field."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from separator.audio.formats import FileFormat
from separator.envelope import Refusal
from separator.modes import Mode, stem_names
from separator.task_table import CreateRequest

_MAX_URL = 4096
_MAX_INTEGER = 2**63 - 1  # of a SQLite column


def read(body: Mapping[str, Any], stems: Sequence[str]) -> CreateRequest:
    """Return the checked request. Raises `Refusal`: 422 for a wrong field, 404 for a generated track.

    `stems` are the engine's; `stemName` must name one of them. `format` and `maxFileBytes` are our additions
    to the contract.
    """
    mode = _mode(body)
    stem_name = _stem_name(body, mode, stem_names(stems))
    callback_url = _url(body, "callBackUrl")
    track = {name for name in ("taskId", "audioId") if body.get(name)}
    if not track:
        url = _url(body, "audioUrl")
        return CreateRequest(url, mode, stem_name, callback_url, _format(body), _max_file_bytes(body))
    if body.get("audioUrl"):
        raise Refusal(422, "send audioUrl, or taskId and audioId, not both")
    if len(track) == 1:
        raise Refusal(422, "taskId and audioId must be sent together")
    raise Refusal(404, "this server generates no tracks, so it has none with this taskId; send audioUrl")


def _mode(body: Mapping[str, Any]) -> Mode:
    value = body.get("type")
    try:
        return Mode(value) if isinstance(value, str) else Mode("")
    except ValueError:
        raise Refusal(422, f"type must be one of: {', '.join(Mode)}") from None


def _stem_name(body: Mapping[str, Any], mode: Mode, names: Sequence[str]) -> str | None:
    value = body.get("stemName")
    if mode is not Mode.SPLIT_STEM_ADVANCED:
        if value:
            raise Refusal(422, f"stemName is for {Mode.SPLIT_STEM_ADVANCED} only")
        return None
    if not isinstance(value, str) or value not in names:
        raise Refusal(422, f"stemName must be one of: {', '.join(names)}")
    return value


def _format(body: Mapping[str, Any]) -> FileFormat | None:
    value = body.get("format")
    if value is None:
        return None
    if value not in list(FileFormat):
        raise Refusal(422, f"format must be one of: {', '.join(FileFormat)}")
    return FileFormat(value)


def _max_file_bytes(body: Mapping[str, Any]) -> int:
    value = body.get("maxFileBytes")
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MAX_INTEGER:
        raise Refusal(422, "maxFileBytes must be a whole number of bytes above 0")
    return value


def _url(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal(422, f"{name} is missing")
    try:
        parts = urlsplit(value)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        raise Refusal(422, f"{name} is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits or len(value) > _MAX_URL:
        raise Refusal(422, f"{name} must be an http or https URL")
    return value

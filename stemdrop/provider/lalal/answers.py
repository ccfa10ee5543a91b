"""Reads LALAL.AI's answers. An answer of another shape than documented raises `BadContract`."""

from typing import Any

from stemdrop.domain.results import Result, Stem
from stemdrop.errors import BadContract, Refused
from stemdrop.provider.answer_fields import printable_id, read_mapping, read_number
from stemdrop.provider.answer_shape import shape_of
from stemdrop.provider.interface import Report
from stemdrop.provider.lalal.codes import FAILED, NO_SOURCE, failure_code, is_source_gone
from stemdrop.provider.stem_urls import stem_url

# More than any answer has: nine stems and the rest.
MAX_TRACKS = 64

# The label of a track → our key, and the name of the instrument as `domain/jobs.INSTRUMENTS` spells it.
STEMS = {
    "vocals": ("vocals", ""),
    "drum": ("drums", "Drum Kit"),
    "bass": ("bass", "Bass"),
    "piano": ("piano", "Piano"),
    "electric_guitar": ("electric_guitar", "Electric Guitar"),
    "acoustic_guitar": ("acoustic_guitar", "Acoustic Guitar"),
    "synthesizer": ("synth", "Synth"),
    "strings": ("strings", "String Section"),
}
# The labels of the rest of a song: without its vocals, and without all stems of a request.
_RESTS = {"no_vocals": "instrumental", "no_multistem": "other"}


def read_id(data: object, name: str) -> str:
    """Return the id in a field of an answer."""
    if not (value := printable_id(read_mapping(data).get(name))):
        raise BadContract(f"{name} is missing")
    return value


def read_minutes(data: object) -> float:
    """Return the balance of the account in minutes of audio."""
    return read_number(read_mapping(data).get("minutes_left"), "minutes_left")


def read_tasks(data: object) -> dict[str, object]:
    """Return the entries of an answer to a check by task id."""
    return read_mapping(read_mapping(data).get("result"), "result")


def read_report(entry: object) -> Report:
    """Read the state of a task. Raises also `Refused` if the server could not find it out."""
    task = read_mapping(entry, "the task")
    match task.get("status"):
        case "progress":
            return Report(progress=_percent(task.get("progress")))
        case "success":
            return Report(_success(task))
        case "error":
            return Report(Result(failure_code(_text(task.get("error")))))
        case "cancelled":
            return Report(Result(FAILED))
        case "server_error":
            text = _text(task.get("error"))
            if is_source_gone(text):
                return Report(Result(NO_SOURCE))
            raise Refused(404, text or "no explanation")
        case status:
            raise BadContract(f"unknown status {str(status)[:40]!r}")


def read_error(data: object) -> tuple[str, str]:
    """Return code and text of an error; either may be empty."""
    if not isinstance(data, dict):
        return "", ""
    code = data.get("code")
    return code if isinstance(code, str) else "", _text(data.get("detail"))


def _text(error: object) -> str:
    """Return the text of an error: a string, its `detail` or `msg`, or that of the first of several."""
    first = error[0] if isinstance(error, list) and error else error
    if isinstance(first, dict):
        first = next((first[name] for name in ("detail", "msg") if name in first), "")
    return first if isinstance(first, str) else ""


def _percent(value: object) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and isinstance(value, int) and 0 <= value <= 100 else None


def _success(task: dict[str, Any]) -> Result:
    result = task.get("result")
    tracks = result.get("tracks") if isinstance(result, dict) else None
    if not isinstance(tracks, list) or len(tracks) > MAX_TRACKS:
        return Result(200, (), shape_of(task))
    seconds = result.get("duration") if isinstance(result, dict) else 0
    found = (_stem(track, _seconds(seconds)) for track in tracks)
    stems = {stem.key: stem for stem in found if stem}
    return Result(200, tuple(stems.values()), "" if stems or not tracks else shape_of(task))


def _stem(track: object, duration_s: float) -> Stem | None:
    if not isinstance(track, dict) or not (url := stem_url(track.get("url"))):
        return None
    label = track.get("label")
    if not isinstance(label, str) or not label.isprintable() or not 0 < len(label) <= 40:
        return None
    if key := _RESTS.get(label):
        return Stem(key, url, duration_s=duration_s)
    is_rest = track.get("type") == "back"
    label = label.removeprefix("no_") if is_rest else label
    key, name = STEMS.get(label, (label, label.replace("_", " ").capitalize()))
    return Stem(f"{key}_rest" if is_rest else key, url, name, is_rest, duration_s)


def _seconds(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, int | float) and 0 < value < 86_400 else 0.0

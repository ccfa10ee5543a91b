"""The JSON that reports a task, in callbacks and detail answers, and the separator's abilities."""

from collections.abc import Mapping, Sequence
from typing import Any

from separator.audio.formats import FileFormat
from separator.engine import REST
from separator.modes import SPLIT_FIELDS, Mode, stem_names
from separator.task_table import CallbackState, PublishedStem, Task, TaskState

_SUCCESS_MESSAGE = "vocal Removal generated successfully."


def callback_body(task: Task, object_name: str) -> dict[str, Any]:
    """Return the callback of a finished task; `object_name` is the field of the object with the URLs."""
    if task.state is TaskState.DONE:
        info: dict[str, Any] | None = {f"{field}_url": url for field, url in _urls(task).items()}
        if task.request.mode is Mode.SPLIT_STEM_ADVANCED:
            extract, remove = _origin_data(task)
            info = {"origin_data": [{"extract": extract, "remove": remove}]}
        return {"code": 200, "msg": _SUCCESS_MESSAGE, "data": {"task_id": task.id, object_name: info}}
    return {"code": task.code, "msg": task.message, "data": {"task_id": task.id, object_name: None}}


def record(task: Task) -> dict[str, Any]:
    """Return the `data` of the detail answer."""
    failed = task.state is TaskState.FAILED
    return {
        "taskId": task.id,
        "successFlag": _success_flag(task),
        "errorCode": task.code if failed else None,
        "errorMessage": task.message if failed else None,
        "response": _response(task) if task.state is TaskState.DONE else None,
    }


def report_abilities(
    engine: str,
    stems: Sequence[str],
    prices: Mapping[Mode, int],
    better_engine: str = "",
    file_format: FileFormat = FileFormat.MP3,
) -> dict[str, Any]:
    """Return the engine, the file formats, and the modes with their prices, stems and instruments.

    This is our addition to the contract. `better_engine` is the one that would run if its model was there;
    `file_format` is the default.
    """
    made: dict[Mode, dict[str, Any]] = {
        Mode.SEPARATE_VOCAL: {"stems": ["vocals", "instrumental"]},
        Mode.SPLIT_STEM: {"stems": list(stems)},
        Mode.SPLIT_STEM_ADVANCED: {"stemNames": stem_names(stems)},
    }
    modes = {mode.value: {"credits": prices.get(mode, 0), **made[mode]} for mode in Mode}
    formats = sorted(FileFormat, key=lambda other: other is not file_format)
    return {"engine": engine, "betterEngine": better_engine or None, "formats": formats, "modes": modes}


def _success_flag(task: Task) -> str:
    if task.state is TaskState.OPEN:
        return "PENDING"
    if task.state is TaskState.FAILED:  # 400 and 451 are errors of the source
        return "GENERATE_AUDIO_FAILED" if task.code == 500 else "CREATE_TASK_FAILED"
    return "CALLBACK_EXCEPTION" if task.callback is CallbackState.GIVEN_UP else "SUCCESS"


def _response(task: Task) -> dict[str, Any]:
    fields = dict.fromkeys(("origin", "instrumental", *SPLIT_FIELDS.values()))
    advanced = task.request.mode is Mode.SPLIT_STEM_ADVANCED
    made = {} if advanced else {field: url or None for field, url in _urls(task).items()}
    return {
        **{_camel_case(f"{field}_url"): url for field, url in (fields | made).items()},
        "originData": _origin_data(task) if advanced else None,
    }


def _urls(task: Task) -> dict[str, str | None]:
    """Return the URL by field in the contract's order. origin_url stays empty: the client has the source."""
    made = {stem.stem: stem.url for stem in task.stems}
    if task.request.mode is Mode.SEPARATE_VOCAL:
        return {"origin": "", "instrumental": made[REST], "vocal": made["vocals"]}
    added = {stem: url for stem, url in made.items() if stem not in SPLIT_FIELDS}
    return {"origin": "", **{field: made.get(stem) for stem, field in SPLIT_FIELDS.items()}, **added}


def _origin_data(task: Task) -> list[dict[str, Any]]:
    name = task.request.stem_name
    by_kind = {stem.stem == REST: stem for stem in task.stems}
    return [_entry(by_kind[False], f"{name}"), _entry(by_kind[True], f"Without {name}")]


def _entry(stem: PublishedStem, name: str) -> dict[str, Any]:
    return {
        "id": stem.id,
        "duration": round(stem.duration_s, 2),
        "audio_url": stem.url,
        "stem_type_group_name": name,
    }


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)

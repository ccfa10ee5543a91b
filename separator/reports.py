"""What a client is told about a task: the callback's body and the detail's data, from the task alone."""

from typing import Any

from separator.engine import REST
from separator.modes import SPLIT_FIELDS, Mode
from separator.tasks import Callback, State, StemFile, Task

_SUCCESS_MESSAGE = "vocal Removal generated successfully."


def callback_body(task: Task, object_name: str) -> dict[str, Any]:
    """The callback of a task that is done or has failed; `object_name` is what the object with the URLs is
    called.
    """
    if task.state is State.DONE:
        info: dict[str, Any] | None = {f"{field}_url": url for field, url in _urls(task).items()}
        if task.creation.mode is Mode.SPLIT_STEM_ADVANCED:
            extract, remove = _origin_data(task)
            info = {"origin_data": [{"extract": extract, "remove": remove}]}
        return {"code": 200, "msg": _SUCCESS_MESSAGE, "data": {"task_id": task.id, object_name: info}}
    return {"code": task.code, "msg": task.message, "data": {"task_id": task.id, object_name: None}}


def record(task: Task) -> dict[str, Any]:
    """The `data` of a detail answer."""
    failed = task.state is State.FAILED
    return {
        "taskId": task.id,
        "successFlag": _success_flag(task),
        "errorCode": task.code if failed else None,
        "errorMessage": task.message if failed else None,
        "response": _response(task) if task.state is State.DONE else None,
    }


def _success_flag(task: Task) -> str:
    if task.state is State.OPEN:
        return "PENDING"
    if (
        task.state is State.FAILED
    ):  # 400 and 451 are faults of the source, before the engine had anything to do
        return "GENERATE_AUDIO_FAILED" if task.code == 500 else "CREATE_TASK_FAILED"
    return "CALLBACK_EXCEPTION" if task.callback is Callback.GIVEN_UP else "SUCCESS"


def _response(task: Task) -> dict[str, Any]:
    fields = dict.fromkeys(("origin", "instrumental", *SPLIT_FIELDS.values()))
    advanced = task.creation.mode is Mode.SPLIT_STEM_ADVANCED
    made = {} if advanced else {field: url or None for field, url in _urls(task).items()}
    return {
        **{_camel_case(f"{field}_url"): url for field, url in (fields | made).items()},
        "originData": _origin_data(task) if advanced else None,
    }


def _urls(task: Task) -> dict[str, str | None]:
    """URL by field, in the order of the contract. The source's URL is the client's own."""
    made = {stem.stem: stem.url for stem in task.stems}
    if task.creation.mode is Mode.SEPARATE_VOCAL:
        return {"origin": "", "instrumental": made[REST], "vocal": made["vocals"]}
    added = {stem: url for stem, url in made.items() if stem not in SPLIT_FIELDS}
    return {"origin": "", **{field: made.get(stem) for stem, field in SPLIT_FIELDS.items()}, **added}


def _origin_data(task: Task) -> list[dict[str, Any]]:
    """The instrument, then the rest."""
    name = task.creation.stem_name
    by_kind = {stem.stem == REST: stem for stem in task.stems}
    return [_entry(by_kind[False], f"{name}"), _entry(by_kind[True], f"Without {name}")]


def _entry(stem: StemFile, name: str) -> dict[str, Any]:
    return {
        "id": stem.id,
        "duration": round(stem.duration_s, 2),
        "audio_url": stem.url,
        "stem_type_group_name": name,
    }


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)

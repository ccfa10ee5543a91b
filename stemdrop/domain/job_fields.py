"""A job as the fields of its Redis hash, and back. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stemdrop.domain.jobs import Job

# Attributes that are stored as they are; the others are stored as JSON.
_BARE = frozenset(
    {"id", "state", "task_id", "account_day", "charge", "asked_again_by", "create_started_by"}
    | {"split_id", "waits_for", "paid_by", "provider", "tried", "refusal"}
)
# Attributes whose field has another name.
_FIELD_NAMES = {"cached": "kept", "is_cache_lost": "is_kept_lost"}


_JSON_FIELDS = [
    (item.name, _FIELD_NAMES.get(item.name, item.name)) for item in fields(Job) if item.name not in _BARE
]
_JOB = TypeAdapter(Job)


def to_fields(job: Job) -> dict[str, str]:
    """Return all attributes of a job as fields of its hash; see `encode`."""
    return encode({item.name: getattr(job, item.name) for item in fields(job)})


def from_fields(stored: Mapping[str, str]) -> Job:
    """Return the job of a stored hash; fields of a newer version are ignored. Raises `ValueError`."""
    values: dict[str, Any] = {name: stored[name] for name in _BARE if name in stored}
    names = [name for name, field in _JSON_FIELDS if field in stored]
    # all at once: reading them one by one takes three times as long
    texts = ",".join([stored[field] for _, field in _JSON_FIELDS if field in stored])
    values |= zip(names, json.loads(f"[{texts}]"), strict=True)
    account = values.get("account") or values.get("user_id") or values.get("chat_id")
    try:
        return _JOB.validate_python({**values, "account": account})
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, it['loc']))}: {it['type']}" for it in error.errors()]
    # not pydantic's own text, which would log titles, file ids and links
    raise ValueError(", ".join(wrong))


def encode(changes: Mapping[str, object]) -> dict[str, str]:
    """Return attributes as fields of a job's hash, with more fields for Redis scripts, which read no JSON."""
    stored: dict[str, str] = {}
    for name, value in changes.items():
        stored[_FIELD_NAMES.get(name, name)] = str(value) if name in _BARE else _to_json(value)
        stored |= _script_fields(name, value)
    return stored


def _to_json(value: object) -> str:
    """Encode a value; scripts know a time that is not set as `0`, never `0.0`."""
    if isinstance(value, float) and value == 0:
        return "0"
    return json.dumps(value, ensure_ascii=False, default=_attributes)


def _attributes(value: Any) -> dict[str, Any]:
    """Return what a dataclass holds; `dataclasses.asdict` would also copy it, at three times the cost."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _script_fields(name: str, value: Any) -> dict[str, str]:
    match name:
        case "mode":
            return {"mode_name": value or ""}
        case "failure":
            charged = _to_json(value.charged) if value else ""
            return {"failure_code": value.code if value else "", "failure_charged": charged}
        case "result":
            is_success = bool(value and value.is_success)
            return {"has_stems": _flag(is_success and value.stems), "is_success": _flag(is_success)}
        case "missing" | "refused":
            return {f"{name}_count": str(len(value))}
    return {}


def _flag(value: object) -> str:
    return "1" if value else "0"

"""Reads the answers of this contract: callback, create, detail and upload, in every known spelling.

The forms are those of the callback page, the detail endpoint, and of public clients: snake and camel case,
JSON and numbers as text, an object of URLs under several names or none. The object with most stems counts.
"""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from stemdrop.domain.results import Result, Stem
from stemdrop.errors import BadContract
from stemdrop.provider.answer_fields import printable_id, read_mapping, read_number
from stemdrop.provider.answer_shape import MAX_DEPTH, shape_of
from stemdrop.provider.stem_urls import is_image, stem_url
from stemdrop.provider.sunoapi.codes import known_code, read_code

# More than any song has; a body with more is an attack.
MAX_STEMS = 64
# Far more than any answer has.
MAX_VALUES = 10_000
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")

# The provider's field (without `_url`) → our key, in the order in which stems are delivered.
STEM_FIELDS = {
    "vocal": "vocals",
    "instrumental": "instrumental",
    "backing_vocals": "backing_vocals",
    "drums": "drums",
    "bass": "bass",
    "guitar": "guitar",
    "piano": "piano",
    "keyboard": "keyboard",
    "percussion": "percussion",
    "strings": "strings",
    "synth": "synth",
    "fx": "fx",
    "brass": "brass",
    "woodwinds": "woodwinds",
}
# URLs of the mix itself and of pages about it.
_NOT_STEMS = frozenset(
    {"", "origin", "source", "audio", "stream_audio", "source_audio", "call_back", "callback"}
)
# Words in the names of fields that hold no sound.
_NO_SOUND = frozenset(
    [*("image", "cover", "avatar", "thumbnail", "thumb", "picture", "photo"), *("artwork", "video", "page")]
)
_INFO_NAMES = ("vocal_removal_info", "vocal_separation_info")
_TASK_NAMES = ("task_id", "taskid")
_DOWNLOAD_NAMES = ("download_url", "file_url", "url")


def read_callback(body: object, api_url: str) -> tuple[str, Result]:
    """Read the body of a callback into task id and result. Raises `BadContract`."""
    plain = read_mapping(_plain(body), "the body")
    code = known_code(api_url, read_code(plain.get("code")), plain.get("msg"))
    data = plain.get("data")
    if not isinstance(data, dict | list) and not printable_id(data):
        raise BadContract("data is missing")
    task_id = _task_id(data) or _task_id(
        {name: value for name, value in plain.items() if name in _TASK_NAMES}
    )
    if not task_id:
        raise BadContract("data.task_id is missing")
    if code != 200:
        return task_id, Result(code)
    for name in _INFO_NAMES:
        value = data.get(name) if isinstance(data, dict) else None
        if value is not None and not (isinstance(value, dict) or (isinstance(value, list) and value)):
            raise BadContract(f"{name} is not an object")
    return task_id, _success(data)


def read_detail(data: object, api_url: str) -> Result | None:
    """Read `data` of the detail endpoint; `None`: there is no result yet. Raises `BadContract`.

    A task whose callback failed (`CALLBACK_EXCEPTION`) may have succeeded: its response decides.
    """
    plain = _plain(data)
    detail = read_mapping(plain[0] if isinstance(plain, list) and plain else plain, "data")
    flag = next((detail[name] for name in ("success_flag", "status") if name in detail), None)
    flag = flag.strip().upper() if isinstance(flag, str) else flag
    if flag == "PENDING":
        return None
    if flag in ("CREATE_TASK_FAILED", "GENERATE_AUDIO_FAILED"):
        try:
            code = read_code(detail.get("error_code"))
        except BadContract:
            code = 501 if flag == "GENERATE_AUDIO_FAILED" else 500
        return Result(known_code(api_url, code if code != 200 else 500, detail.get("error_message")))
    result = _success(detail)
    if flag == "SUCCESS" or result.stems:
        return result
    if flag == "CALLBACK_EXCEPTION":
        return result if result.shape else None
    raise BadContract(f"unknown successFlag {str(flag)[:40]!r}")


def read_task_id(data: object) -> str:
    """Return the task id that an answer's `data` holds or is; empty if there is none."""
    return _task_id(_plain(data))


def _task_id(plain: object) -> str:
    if not isinstance(plain, dict | list):
        return printable_id(plain)
    found = (printable_id(item.get(name)) for _, item in _objects(plain) for name in _TASK_NAMES)
    return next((task_id for task_id in found if task_id), "")


def read_download_url(data: object) -> str:
    """Return the URL of an uploaded file; empty if the answer has none."""
    plain = _plain(data)
    values = [plain, *(item.get(name) for name in _DOWNLOAD_NAMES for _, item in _objects(plain))]
    return next((url for value in values if (url := stem_url(value))), "")


def read_credits(data: object) -> float:
    """Return the balance in credits, which may be a number or text. Raises `BadContract`."""
    if isinstance(data, str) and re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", data.strip(), re.ASCII):
        return float(data)
    return read_number(data, "the balance")


def _plain(value: object, depth: int = 0, count: Iterator[int] | None = None) -> Any:
    """Parse JSON in texts, write fields in snake case; of two fields of one name the first non-empty stays.

    Raises `BadContract` after `MAX_VALUES`, since a body of 1 MiB can hold so many that they take a second.
    """
    count = count or itertools.count()
    if next(count) > MAX_VALUES:
        raise BadContract(f"more than {MAX_VALUES} values")
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return _plain(value, depth + 1, count)
    if isinstance(value, list):
        return [_plain(item, depth + 1, count) for item in value] if depth < MAX_DEPTH else None
    if not isinstance(value, dict):
        return value
    plain: dict[str, Any] = {}
    for name, item in value.items() if depth < MAX_DEPTH else ():
        key = name if name.islower() else _HUMP.sub(r"_\1", name).lower()
        plain[key] = plain.get(key) or _plain(item, depth + 1, count)
    return plain


def _objects(value: object, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object with the field that holds it, the outer ones first."""
    if isinstance(value, dict):
        yield name, value
        for field, item in value.items():
            yield from _objects(item, field)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item, name)


def _success(data: object) -> Result:
    found = [_stems(item, is_info=_is_info(name)) for name, item in _objects(data)]
    stems = max(found, key=len, default=())
    return Result(200, stems, "" if stems or _is_understood(data) else shape_of(data))


def _is_info(name: str) -> bool:
    return name.endswith("_info") or name in ("response", "result")


def _is_understood(data: object) -> bool:
    """Whether an answer without stems holds nothing that may be a stem in an unknown form."""
    if isinstance(data, dict) and isinstance(data.get("response"), str | bool | int | float):
        return bool(data["response"] == "")
    for name, item in _objects(data):
        if (
            _is_info(name)
            and item
            and not any(field == "origin_data" or _is_url_field(field) for field in item)
        ):
            return False
        for field, value in item.items():
            is_known = _is_url_field(field) and _is_no_stem(field.removesuffix("_url"))
            texts = value if isinstance(value, list) else [value]
            if not is_known and any(stem_url(text) and not is_image(text) for text in texts):
                return False
    return True


def _is_url_field(name: str) -> bool:
    return name.endswith("_url")


def _is_no_stem(name: str) -> bool:
    return name in _NOT_STEMS or not _NO_SOUND.isdisjoint(name.split("_"))


def _stems(info: dict[str, Any], *, is_info: bool) -> tuple[Stem, ...]:
    # one server's detail answer lists the stems of its named fields again, under other URLs
    found = _named_stems(info, is_info=is_info) or _listed_stems(info.get("origin_data"))
    unique: dict[str, Stem] = {}
    for stem in found:
        key, count = stem.key, 2
        while key in unique:
            key, count = f"{stem.key}_{count}", count + 1
        unique[key] = Stem(key, stem.url, stem.name, stem.is_rest, stem.duration_s)
        if len(unique) > MAX_STEMS:
            raise BadContract(f"more than {MAX_STEMS} stems")
    return tuple(unique.values())


def _named_stems(info: dict[str, Any], *, is_info: bool) -> list[Stem]:
    """Return the stems in fields; unknown ones count only where the object is known to hold stems."""
    urls = {
        name.removesuffix("_url"): url
        for name, value in info.items()
        if _is_url_field(name) and (url := stem_url(value)) and not is_image(url)
    }
    known = [Stem(key, urls[name]) for name, key in STEM_FIELDS.items() if name in urls]
    if not (known or is_info):
        return []
    added_since = [
        Stem(_key(name), url, name=_readable(name))
        for name, url in urls.items()
        if name not in STEM_FIELDS and not _is_no_stem(name)
    ]
    return known + added_since


def _listed_stems(listed: object) -> list[Stem]:
    entries = [listed] if isinstance(listed, dict) else listed if isinstance(listed, list) else []
    stems: list[Stem] = []
    for entry in entries[: MAX_STEMS + 1]:
        if not isinstance(entry, dict):
            continue
        extract, rest = entry.get("extract"), entry.get("remove")
        if isinstance(extract, dict) and isinstance(rest, dict) and _group(extract):
            # servers have their own names for the rest ("Without Bass")
            rest = {**rest, "stem_type_group_name": extract["stem_type_group_name"]}
        for part, is_rest in ((extract, False), (rest, True), (entry, False)):
            if isinstance(part, dict) and (url := stem_url(part.get("audio_url"))):
                stems.append(_listed_stem(part, url, is_rest))
    return stems


def _listed_stem(part: dict[str, Any], url: str, is_rest: bool) -> Stem:
    name = _group(part)
    try:
        seconds = float(part.get("duration") or 0)
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0
    key = _key(name or "stem") + ("_rest" if is_rest else "")
    return Stem(key, url, name, is_rest, seconds if 0 < seconds < 86_400 else 0.0)


def _group(part: dict[str, Any]) -> str:
    group = part.get("stem_type_group_name")
    return _readable(group) if isinstance(group, str) and group.strip() else ""


def _key(name: str) -> str:
    return re.sub(r"[^\w]+", "_", name.lower()).strip("_")[:40] or "stem"


def _readable(name: str) -> str:
    """Return `Hand drums` for `hand_drums`; a name with capitals keeps its spelling."""
    name = name.encode(errors="ignore").decode()  # half a surrogate pair cannot be stored
    words = " ".join(name.replace("_", " ").split())[:40]
    return words if any(letter.isupper() for letter in words) else words.capitalize()

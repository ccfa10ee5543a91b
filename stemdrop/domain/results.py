"""`Result`, and the parsers that make it from every known form of the provider's answer.

The provider's field names occur only here and in `provider/client.py`. The forms are those of its callback
page, its detail endpoint, and of public clients (two object names, two shapes of `origin_data`, more fields).
"""

import re
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit, urlunsplit

from stemdrop.errors import BadContract

# More than any song has; a body with more is an attack.
MAX_STEMS = 64
MAX_TASK_ID = 128
MAX_URL = 2048

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
_NOT_STEMS = frozenset({"origin", "source", "audio", "call_back", "callback"})
_INFO_NAMES = ("vocal_removal_info", "vocal_separation_info")


@dataclass(frozen=True, slots=True)
class Stem:
    """One file of a result.

    `key` is unique within the result and the same in callback and detail; `name` is the provider's, for stems
    that we have no name for; `is_rest` marks 'everything but `name`'.
    """

    key: str
    url: str
    name: str = ""
    is_rest: bool = False
    duration_s: float = 0


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a task: code 200 with stems, or another code without."""

    code: int
    stems: tuple[Stem, ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether the provider reports success; there may still be no stem."""
        return self.code == 200

    @property
    def is_refunded(self) -> bool:
        """Whether the provider reports that it returned the credits."""
        return self.code == 531

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The reverse of `dataclasses.asdict`."""
        return cls(code=value["code"], stems=tuple(Stem(**stem) for stem in value["stems"]))


def parse_callback(body: object) -> tuple[str, Result]:
    """Parse the body of a callback into task id and result. Raises `BadContract`."""
    code = _code(_mapping(body, "the body").get("code"))
    data = _mapping(_mapping(body, "the body").get("data"), "data")
    task_id = data.get("task_id") or data.get("taskId")
    if not isinstance(task_id, str) or not 0 < len(task_id) <= MAX_TASK_ID or not task_id.isprintable():
        raise BadContract("data.task_id is missing")
    if code != 200:
        return task_id, Result(code)
    info: dict[str, Any] = {}
    for name in _INFO_NAMES:
        if data.get(name) is not None:
            info = _mapping(data[name], name)
            break
    # some servers put it beside the object
    listed = info.get("origin_data") or data.get("origin_data")
    return task_id, Result(200, _stems({**info, "origin_data": listed}))


def parse_detail(data: object) -> Result | None:
    """Parse `data` of the detail endpoint; `None`: there is no result yet. Raises `BadContract`.

    A task whose callback failed (`CALLBACK_EXCEPTION`) may have succeeded: its response decides.
    """
    detail = _mapping(data, "data")
    flag = detail.get("successFlag")
    response = detail.get("response")
    stems = _stems(_snake_case(_mapping(response, "response"))) if response is not None else ()
    if flag == "SUCCESS" or (flag == "CALLBACK_EXCEPTION" and stems):
        return Result(200, stems)
    if flag in ("PENDING", "CALLBACK_EXCEPTION"):
        return None
    if flag in ("CREATE_TASK_FAILED", "GENERATE_AUDIO_FAILED"):
        error = detail.get("errorCode")
        try:
            code = _code(error)
        except BadContract:
            code = 501 if flag == "GENERATE_AUDIO_FAILED" else 500
        return Result(code if code != 200 else 500)
    raise BadContract(f"unknown successFlag {str(flag)[:40]!r}")


def _stems(info: dict[str, Any]) -> tuple[Stem, ...]:
    # one server lists in its details the stems that it has named already, under other URLs
    found = _named_stems(info) or _listed_stems(info.get("origin_data"))
    unique: dict[str, Stem] = {}
    for stem in found:
        key, count = stem.key, 2
        while key in unique:
            key, count = f"{stem.key}_{count}", count + 1
        unique[key] = Stem(key, stem.url, stem.name, stem.is_rest, stem.duration_s)
        if len(unique) > MAX_STEMS:
            raise BadContract(f"more than {MAX_STEMS} stems")
    return tuple(unique.values())


def _named_stems(info: dict[str, Any]) -> list[Stem]:
    urls = {
        name.removesuffix("_url"): url
        for name, value in info.items()
        if name.endswith("_url") and (url := _url(value))
    }
    known = [Stem(key, urls[name]) for name, key in STEM_FIELDS.items() if name in urls]
    added_since = [
        Stem(_key(name), url, name=_readable(name))
        for name, url in urls.items()
        if name not in STEM_FIELDS and name not in _NOT_STEMS
    ]
    return known + added_since


def _listed_stems(listed: object) -> list[Stem]:
    if not isinstance(listed, list):
        return []
    stems: list[Stem] = []
    for entry in listed[: MAX_STEMS + 1]:
        if not isinstance(entry, dict):
            continue
        extract, rest = entry.get("extract"), entry.get("remove")
        if isinstance(extract, dict) and isinstance(rest, dict) and _group(extract):
            # servers have their own names for the rest ("Without Bass")
            rest = {**rest, "stem_type_group_name": extract["stem_type_group_name"]}
        for part, is_rest in ((extract, False), (rest, True), (entry, False)):
            if isinstance(part, dict) and (url := _url(part.get("audio_url"))):
                stems.append(_listed_stem(part, url, is_rest))
    return stems


def _listed_stem(part: dict[str, Any], url: str, is_rest: bool) -> Stem:
    name = _group(part)
    duration = part.get("duration")
    seconds = float(duration) if isinstance(duration, int | float) and 0 < duration < 86_400 else 0.0
    key = _key(name or "stem") + ("_rest" if is_rest else "")
    return Stem(key, url, name, is_rest, seconds)


def _group(part: dict[str, Any]) -> str:
    group = part.get("stem_type_group_name")
    return _readable(group) if isinstance(group, str) and group.strip() else ""


def _url(value: object) -> str:
    """Return the URL, quoted where needed (some have spaces), or an empty text for anything else."""
    if not isinstance(value, str) or not 0 < len(value.strip()) <= MAX_URL:
        return ""
    try:
        parts = urlsplit(value.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return ""
        # no host name has these, and half a surrogate pair cannot be stored
        if not parts.netloc.isprintable() or " " in parts.netloc:
            return ""
        safe = "/:@!$&'()*+,;=~%-._"
        path, query = quote(parts.path, safe=safe), quote(parts.query, safe=safe + "?")
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _snake_case(response: dict[str, Any]) -> dict[str, Any]:
    return {re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower(): value for name, value in response.items()}


def _key(name: str) -> str:
    return re.sub(r"[^\w]+", "_", name.lower()).strip("_")[:40] or "stem"


def _readable(name: str) -> str:
    """`hand_drums` → `Hand drums`; a name with capitals stays."""
    name = name.encode(errors="ignore").decode()  # half a surrogate pair cannot be stored
    words = " ".join(name.replace("_", " ").split())[:40]
    return words if any(letter.isupper() for letter in words) else words.capitalize()


def _mapping(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadContract(f"{what} is not an object")
    return value


def _code(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 4:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 9999:
        raise BadContract("code is missing or no number")
    return value

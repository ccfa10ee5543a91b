"""Reads fal's answers: those of its queue, its webhooks, and the files of its model demucs.

The forms are those of fal.ai/docs ('Asynchronous Inference', 'Webhooks') and of the model's page.
"""

import base64
import re
from dataclasses import dataclass

from stemdrop.domain.results import Result, Stem
from stemdrop.errors import BadContract
from stemdrop.provider.answer_fields import printable_id, read_mapping
from stemdrop.provider.answer_shape import shape_of
from stemdrop.provider.fal.codes import error_types, task_failure
from stemdrop.provider.stem_urls import stem_url
from stemdrop.provider.upload_urls import upload_url

# The fields of the model's output, which are our keys, in the order in which stems are delivered.
STEMS = ("vocals", "drums", "bass", "guitar", "piano", "other")
_KEY_BYTES = 32
_STATUS = re.compile(r"\bstatus code: (\d{3})\b", re.ASCII)
# HTTP statuses about the call that asks for a result, not about the request that made the result.
_OF_CALL = frozenset({401, 402, 403, 404, 408, 429})


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The state of a request in the queue."""

    is_completed: bool
    has_failed: bool


def read_request_id(body: object) -> str:
    """Return the id of a request. Raises `BadContract`."""
    if not (value := printable_id(read_mapping(body).get("request_id"))):
        raise BadContract("request_id is missing")
    return value


def read_status(body: object) -> QueueStatus:
    """Read the answer to a status call. A failed request also counts as completed, and names its error."""
    fields = read_mapping(body)
    status = fields.get("status")
    if status not in ("IN_QUEUE", "IN_PROGRESS", "COMPLETED"):
        raise BadContract(f"unknown status {str(status)[:40]!r}")
    has_failed = bool(fields.get("error") or fields.get("error_type"))
    return QueueStatus(status == "COMPLETED", has_failed)


def read_output(output: object) -> Result:
    """Read the output of the model: an object of files, with null for stems that were not made."""
    fields = read_mapping(output)
    urls = ((key, stem_url(_url(fields.get(key)))) for key in STEMS)
    stems = tuple(Stem(key, url) for key, url in urls if url)
    return Result(200, stems, "" if stems else shape_of(fields))


def read_failure(status: int, body: object, *, has_failed: bool) -> Result | None:
    """Read an error answer to a call for a result; `None`: the error is not that of the request itself."""
    is_own = isinstance(body, dict) and "detail" in body and (has_failed or error_types(body))
    return Result(task_failure(status, body)) if is_own and status not in _OF_CALL else None


def read_webhook(body: object) -> tuple[str, Result | None]:
    """Read a webhook into request id and result; `None`: only the queue can tell. Raises `BadContract`.

    fal leaves out an output that it cannot send, and adds a `payload_error`.
    """
    fields = read_mapping(body)
    request_id, payload = read_request_id(fields), fields.get("payload")
    match fields.get("status"):
        case "OK":
            return request_id, read_output(payload) if isinstance(payload, dict) else None
        case "ERROR":
            status = _STATUS.search(str(fields.get("error"))[:500])
            return request_id, Result(task_failure(int(status[1]), payload)) if status else None
    raise BadContract("unknown status of a webhook")


def read_upload(body: object, api_url: str) -> tuple[str, str]:
    """Return the signed URL for an upload, and the URL of the uploaded file. Raises `BadContract`."""
    fields = read_mapping(body)
    to, url = upload_url(fields.get("upload_url"), api_url), stem_url(fields.get("file_url"))
    if not to or not url:
        raise BadContract("upload_url or file_url is missing")
    return to, url


def read_keys(body: object) -> list[bytes]:
    """Return the ED25519 keys of a JSON Web Key Set. Raises `BadContract` if there is none."""
    listed = read_mapping(body).get("keys")
    keys = [it for it in listed if isinstance(it, dict)] if isinstance(listed, list) else []
    found = [_key(it.get("x")) for it in keys if (it.get("kty"), it.get("crv")) == ("OKP", "Ed25519")]
    if not (known := [key for key in found if len(key) == _KEY_BYTES]):
        raise BadContract("there is no ED25519 key")
    return known


def _key(value: object) -> bytes:
    try:
        return base64.urlsafe_b64decode(str(value).rstrip("=") + "=")
    except ValueError:
        return b""


def _url(file: object) -> object:
    return file.get("url") if isinstance(file, dict) else file

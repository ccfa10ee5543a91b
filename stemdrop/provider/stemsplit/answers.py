"""Reads StemSplit's answers and callbacks, by its OpenAPI document (stemsplit.io/api/v1/openapi)."""

from collections.abc import Iterator
from typing import Any

from stemdrop.domain.results import Result, Stem
from stemdrop.errors import BadContract
from stemdrop.provider.answer_fields import printable_id, read_mapping, read_number
from stemdrop.provider.answer_shape import shape_of
from stemdrop.provider.interface import Report
from stemdrop.provider.stem_urls import stem_url
from stemdrop.provider.stemsplit.codes import FAILED, UNCHARGED
from stemdrop.provider.upload_urls import upload_url

# The keys of its outputs, which are also our keys, in the order in which stems are delivered.
STEMS = ("vocals", "instrumental", "drums", "bass", "guitar", "piano", "other")
_ID_NAMES = ("id", "jobId", "existingJobId")
_EVENTS = {"job.completed": "COMPLETED", "job.failed": "FAILED"}


def read_job(body: object) -> Report:
    """Read the answer about a job. Raises `BadContract`."""
    job = read_mapping(body, "the job")
    if job.get("status") in ("PENDING", "PROCESSING"):
        return Report(progress=_progress(job.get("progress")))
    return Report(_result(job, job.get("status")))


def read_callback(body: object) -> tuple[str, Result]:
    """Read the body of a callback into task id and result. Raises `BadContract`."""
    event = read_mapping(body, "the body")
    job = read_mapping(event.get("data"), "data")
    task_id = read_task_id(job) or read_task_id(event)
    if not task_id:
        raise BadContract("data.jobId is missing")
    status = job.get("status") or _EVENTS.get(str(event.get("event")))
    return task_id, _result(job, status)


def read_task_id(body: object) -> str:
    """Return the id of the job that an answer names, also in its error; empty if it names none."""
    for value in (body, body.get("error") if isinstance(body, dict) else None):
        found = (printable_id(value.get(name)) for name in _ID_NAMES) if isinstance(value, dict) else ()
        if task_id := next(filter(None, found), ""):
            return task_id
    return ""


def read_error(body: object) -> tuple[str, str]:
    """Return code and message of an error; both are empty for anything else."""
    error = body.get("error") if isinstance(body, dict) else None
    found = error if isinstance(error, dict) else {}
    code, message = found.get("code"), found.get("message")
    return code if isinstance(code, str) else "", message if isinstance(message, str) else ""


def find_job(body: object, name: str) -> str:
    """Return the id of the listed job whose file has this name (without extension); empty if there is none.

    Raises `BadContract`.
    """
    jobs = read_mapping(body, "the list").get("jobs")
    if not isinstance(jobs, list):
        raise BadContract("jobs is no list")
    for job in jobs:
        source = job.get("input") if isinstance(job, dict) else None
        file_name = source.get("fileName") if isinstance(source, dict) else None
        if isinstance(file_name, str) and file_name.partition(".")[0] == name:
            return printable_id(job.get("id"))
    return ""


def read_upload(body: object, api_url: str) -> tuple[str, str, str]:
    """Return the URL for the upload, its key for the order, and the media type. Raises `BadContract`."""
    answer = read_mapping(body, "the upload")
    url, key = upload_url(answer.get("uploadUrl"), api_url), answer.get("uploadKey")
    if not url or not isinstance(key, str) or not 0 < len(key) <= 1024:
        raise BadContract("uploadUrl or uploadKey is missing")
    media_type = answer.get("contentType")
    is_type = isinstance(media_type, str) and media_type.isascii() and media_type.isprintable()
    return url, key, str(media_type) if is_type else "application/octet-stream"


def read_balance(body: object) -> float:
    """Return the balance in seconds of audio. Raises `BadContract`."""
    return read_number(read_mapping(body, "the balance").get("balanceSeconds"), "balanceSeconds")


def _result(job: dict[str, Any], status: object) -> Result:
    if status == "COMPLETED":
        outputs = job.get("outputs")
        stems = tuple(_stems(outputs)) if isinstance(outputs, dict) else ()
        return Result(200, stems, "" if stems or not outputs else shape_of(outputs))
    if status in ("FAILED", "EXPIRED"):
        charged = job.get("creditsCharged")
        is_free = isinstance(charged, int) and not isinstance(charged, bool) and charged == 0
        return Result(UNCHARGED if is_free else FAILED)
    raise BadContract(f"unknown status {str(status)[:40]!r}")


def _stems(outputs: dict[str, Any]) -> Iterator[Stem]:
    """Yield the known stems. Other outputs belong to jobs that we do not order (`fullAudio`)."""
    for key in STEMS:
        output = outputs.get(key)
        if url := stem_url(output.get("url") if isinstance(output, dict) else output):
            yield Stem(key, url)


def _progress(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        return None
    return int(value)

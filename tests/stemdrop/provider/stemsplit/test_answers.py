"""Answers and callbacks of StemSplit: what is read of them, and what is refused."""

from typing import Any

import pytest

from stemdrop.domain.results import Result, Stem
from stemdrop.errors import BadContract
from stemdrop.provider.interface import Report
from stemdrop.provider.stemsplit.answers import (
    find_job,
    read_balance,
    read_callback,
    read_job,
    read_task_id,
    read_upload,
)

NO_OBJECTS: tuple[object, ...] = (None, [], "a", 7, {})
API = "https://stemsplit.io/api/v1"
URL = "https://files.example/a/vocals.mp3?X-Amz-Signature=ab%2Fc"


def output(url: object = URL) -> dict[str, object]:
    return {"url": url, "expiresAt": "2026-11-29T12:00:00Z"}


def done(outputs: object) -> dict[str, object]:
    return {"id": "a", "status": "COMPLETED", "progress": 100, "outputs": outputs}


def test_six_stems_come_in_our_order_and_the_song_itself_is_none() -> None:
    names = ("other", "piano", "fullAudio", "vocals", "drums", "bass", "guitar")
    found = read_job(done({name: output() for name in names})).result
    assert found
    assert [stem.key for stem in found.stems] == ["vocals", "drums", "bass", "guitar", "piano", "other"]
    assert found.stems[0] == Stem("vocals", URL)


@pytest.mark.parametrize(
    ("outputs", "result"),
    [
        ({"vocals": URL}, Result(200, (Stem("vocals", URL),))),
        ({"vocals": output(), "drums": output(""), "bass": output(None), "piano": None}, None),
        ({"vocals": output(), "drums": output("file:///etc/passwd"), "bass": output(7), "piano": []}, None),
        *(({}, Result(200)), (None, Result(200)), ([], Result(200))),
        ({"voice": output()}, Result(200, (), "{voice: {url: URL, expiresAt: text}}")),
        ([output()], Result(200, (), "[1 × {url: URL, expiresAt: text}]")),
    ],
)
def test_stems_without_a_url_are_none(outputs: object, result: Result | None) -> None:
    assert read_job(done(outputs)) == Report(result or Result(200, (Stem("vocals", URL),)))


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING"])
@pytest.mark.parametrize(
    ("told", "progress"), [(0, 0), (40, 40), (99.9, 99), (None, None), (-1, None), (101, None), ("7", None)]
)
def test_progress_is_a_percentage(status: str, told: object, progress: int | None) -> None:
    assert read_job({"status": status, "progress": told}) == Report(None, progress)
    assert read_job({"status": status, "progress": True}) == Report()


@pytest.mark.parametrize("status", ["FAILED", "EXPIRED"])
@pytest.mark.parametrize(
    ("charged", "code"), [(0, 531), (180, 500), (None, 500), (False, 500), ("0", 500), (0.0, 500), (-1, 500)]
)
def test_only_a_known_zero_means_that_nothing_was_charged(status: str, charged: object, code: int) -> None:
    assert read_job({"status": status, "creditsCharged": charged}).result == Result(code)


@pytest.mark.parametrize("body", [None, [], "x", {}, {"status": "completed"}, {"status": ["COMPLETED"]}])
def test_a_job_without_a_known_status_is_refused(body: object) -> None:
    with pytest.raises(BadContract):
        read_job(body)


@pytest.mark.parametrize(
    ("event", "job", "result"),
    [
        ("job.completed", done({"vocals": output()}), Result(200, (Stem("vocals", URL),))),
        ("job.completed", {"outputs": {"vocals": output()}}, Result(200, (Stem("vocals", URL),))),
        ("job.failed", {"creditsCharged": 0}, Result(531)),
        ("job.failed", {"status": "FAILED", "creditsCharged": 9}, Result(500)),
    ],
)
def test_a_callback_is_read(event: str, job: dict[str, Any], result: Result) -> None:
    for body in (
        {"event": event, "data": {**job, "jobId": "a"}},
        {"event": event, "jobId": "a", "data": {name: value for name, value in job.items() if name != "id"}},
    ):
        assert read_callback(body) == ("a", result)


@pytest.mark.parametrize(
    "body",
    [
        *(*NO_OBJECTS, {"data": None}, {"data": []}),
        {"event": "job.completed", "data": {"status": "COMPLETED"}},
        *({"event": "job.failed", "data": {"jobId": odd}} for odd in ("", "a\n", "x" * 129, None, 7)),
        {"event": "job.started", "data": {"jobId": "a"}},
        {"event": ["job.failed"], "data": {"jobId": "a"}},
    ],
)
def test_a_callback_without_job_or_end_is_refused(body: object) -> None:
    with pytest.raises(BadContract):
        read_callback(body)


@pytest.mark.parametrize(
    ("body", "task_id"),
    [
        ({"id": "a"}, "a"),
        ({"error": {"code": "X", "existingJobId": "a"}}, "a"),
        ({"error": {"jobId": "a"}}, "a"),
        *((odd, "") for odd in (*NO_OBJECTS, {"id": 7}, {"error": "a"}, {"error": {"code": "a"}})),
    ],
)
def test_a_task_id_is_named_in_an_answer_or_an_error(body: object, task_id: str) -> None:
    assert read_task_id(body) == task_id


def test_a_job_is_found_by_the_name_of_its_file() -> None:
    names = [None, 7, "other.mp3", "callx.mp3", "call.mp3", "call"]
    jobs: list[Any] = [{"id": str(number), "input": {"fileName": name}} for number, name in enumerate(names)]
    jobs[:0] = [None, {"id": "x"}, {"id": "x", "input": "call"}]
    assert find_job({"jobs": jobs}, "call") == "4"
    assert find_job({"jobs": jobs}, "cal") == ""
    no_lists: tuple[object, ...] = (None, {}, {"jobs": {}})
    for odd in no_lists:
        with pytest.raises(BadContract):
            find_job(odd, "call")


def test_an_upload_is_read() -> None:
    upload = {"uploadUrl": URL, "uploadKey": "uploads/a/input.mp3", "contentType": "audio/mpeg"}
    assert read_upload(upload, API) == (URL, "uploads/a/input.mp3", "audio/mpeg")
    for odd in (None, 7, "a\r\nX-Header: b", "é"):
        assert read_upload({**upload, "contentType": odd}, API)[2] == "application/octet-stream"
    for name in ("uploadUrl", "uploadKey"):
        for odd in (None, "", 7):
            with pytest.raises(BadContract):
                read_upload({**upload, name: odd}, API)


def test_the_balance_is_a_number_of_seconds() -> None:
    assert read_balance({"balanceSeconds": 300}) == 300
    for odd in (None, "300", True, float("nan"), float("inf"), [300]):
        with pytest.raises(BadContract):
            read_balance({"balanceSeconds": odd})

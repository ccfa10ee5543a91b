"""The API's requests: accepted and refused ones."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from separator.audio.formats import FileFormat
from separator.modes import CONTRACT_PRICES, Mode

GENERATE = "/api/v1/vocal-removal/generate"
DETAIL = "/api/v1/vocal-removal/record-info"
ABILITIES = "/api/v1/vocal-removal/abilities"
CREDIT = "/api/v1/generate/credit"
UPLOAD = "/api/file-stream-upload"


def _request(**changes: Any) -> dict[str, Any]:
    """A valid create request with `changes`; a field set to `...` is left out."""
    fields = {
        "audioUrl": "http://127.0.0.1:9/song.mp3",
        "type": "separate_vocal",
        "callBackUrl": "http://127.0.0.1:9/callback",
    }
    return {name: value for name, value in (fields | changes).items() if value is not ...}


def test_a_task_is_accepted_and_pending(start: Callable[..., Any], client: Any) -> None:
    with start() as separator:
        source = f"{client.origin}/gated/nothing.mp3"
        answer = separator.create(**_request(audioUrl=source, callBackUrl=client.callback_url))
        assert answer["code"] == 200
        assert answer["msg"] == "success"
        assert list(answer["data"]) == ["taskId"]
        record = separator.record(answer["data"]["taskId"])
        assert record["successFlag"] == "PENDING"
        assert record["errorCode"] is None
        assert record["response"] is None


def test_a_request_without_the_key_is_refused(separator: Any) -> None:
    for method, path in [
        ("POST", GENERATE),
        ("GET", DETAIL),
        ("GET", CREDIT),
        ("GET", ABILITIES),
        ("POST", UPLOAD),
    ]:
        url = f"{separator.settings.origin}{path}"
        for key in [None, "Bearer wrong", "Bearer", "the-key", "Bearer the-key2", "Bearer clé"]:
            headers = {} if key is None else {b"Authorization": key.encode()}
            answer = separator.http.send(httpx.Request(method, url, headers=headers))
            assert answer.status_code == 401, (path, key)
            assert (answer.json()["code"], answer.json()["data"]) == (401, None)


def test_a_body_that_is_not_a_json_object_is_400(separator: Any) -> None:
    for body in [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000]:
        answer = separator.http.post(GENERATE, content=body)
        assert answer.status_code == 200
        assert (answer.json()["code"], answer.json()["data"]) == (400, None)


def test_a_huge_request_is_413(separator: Any) -> None:
    assert separator.http.post(GENERATE, content=b" " * (2 * 1024**2)).json()["code"] == 413


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"type": ...}, 422, "type"),
        ({"type": "split"}, 422, "type"),
        ({"type": 1}, 422, "type"),
        ({"audioUrl": ...}, 422, "audioUrl"),
        ({"audioUrl": "ftp://host/song.mp3"}, 422, "audioUrl"),
        ({"audioUrl": "file:///etc/passwd"}, 422, "audioUrl"),
        ({"audioUrl": "http://"}, 422, "audioUrl"),
        ({"audioUrl": "http://host:99999/"}, 422, "audioUrl"),
        ({"audioUrl": ["http://host/"]}, 422, "audioUrl"),
        ({"callBackUrl": ...}, 422, "callBackUrl"),
        ({"callBackUrl": ""}, 422, "callBackUrl"),
        ({"callBackUrl": "javascript:alert(1)"}, 422, "callBackUrl"),
        ({"stemName": "Bass"}, 422, "stemName"),
        ({"type": "split_stem_advanced"}, 422, "stemName"),
        ({"type": "split_stem_advanced", "stemName": "Kazoo"}, 422, "stemName"),
        # the engine has none; it says so before the source is fetched
        ({"type": "split_stem_advanced", "stemName": "Piano"}, 422, "one of: Lead Vocal, Drum Kit, Bass"),
        ({"type": "split_stem_advanced", "stemName": ["Bass"]}, 422, "stemName"),
        ({"format": "ogg"}, 422, "format must be one of: mp3, flac, wav"),
        ({"format": ["flac"]}, 422, "format"),
        ({"format": "flac", "maxFileBytes": 0}, 422, "maxFileBytes"),
        ({"format": "flac", "maxFileBytes": True}, 422, "maxFileBytes"),
        ({"format": "flac", "maxFileBytes": 2**63}, 422, "maxFileBytes"),
        ({"taskId": "a", "audioId": "b"}, 422, "not both"),
        ({"audioUrl": ..., "taskId": "a"}, 422, "together"),
        ({"audioUrl": ..., "taskId": "a", "audioId": "b"}, 404, "no tracks"),
    ],
)
def test_a_wrong_field_is_named(separator: Any, changes: dict[str, Any], code: int, word: str) -> None:
    answer = separator.create(**_request(**changes))
    assert (answer["code"], answer["data"]) == (code, None)
    assert word in answer["msg"]


def test_an_unknown_task_is_404(separator: Any) -> None:
    answer = separator.http.get(DETAIL, params={"taskId": "0" * 32})
    assert answer.status_code == 200
    assert (answer.json()["code"], answer.json()["data"]) == (404, None)
    assert separator.http.get(DETAIL).json()["code"] == 422


def test_credits_are_charged_and_run_out(
    start: Callable[..., AbstractContextManager[Any]], client: Any
) -> None:
    wanted = _request(audioUrl=f"{client.origin}/gated/nothing.mp3", callBackUrl=client.callback_url)
    with start(credits=25, prices=dict(CONTRACT_PRICES)) as separator:
        assert separator.http.get(CREDIT).json() == {"code": 200, "msg": "success", "data": 25}
        assert separator.create(**wanted)["code"] == 200
        assert separator.create(**wanted)["code"] == 200
        assert separator.http.get(CREDIT).json()["data"] == 5
        assert separator.create(**wanted)["code"] == 402
        assert separator.http.get(CREDIT).json()["data"] == 5
        client.gate.set()
    with start(credits=25, prices=dict(CONTRACT_PRICES)) as separator:
        assert separator.http.get(CREDIT).json()["data"] == 5


def test_tasks_are_free_without_prices(separator: Any) -> None:
    before = separator.http.get(CREDIT).json()["data"]
    separator.task(**_request(type="split_stem"))
    assert separator.http.get(CREDIT).json()["data"] == before > 1000


@pytest.mark.parametrize("prices", [{}, dict(CONTRACT_PRICES)])
def test_the_abilities_are_those_of_the_engine(start: Callable[..., Any], prices: dict[Mode, int]) -> None:
    with start(prices=prices, better_engine="spleeter", file_format=FileFormat.FLAC) as separator:
        answer = separator.http.get(ABILITIES).json()
        assert (answer["code"], answer["msg"]) == (200, "success")
        assert answer["data"] == {
            "engine": "light",
            "betterEngine": "spleeter",
            "formats": ["flac", "mp3", "wav"],
            "modes": {
                "separate_vocal": {
                    "credits": prices.get(Mode.SEPARATE_VOCAL, 0),
                    "stems": ["vocals", "instrumental"],
                },
                "split_stem": {
                    "credits": prices.get(Mode.SPLIT_STEM, 0),
                    "stems": ["vocals", "drums", "bass", "other"],
                },
                "split_stem_advanced": {
                    "credits": prices.get(Mode.SPLIT_STEM_ADVANCED, 0),
                    "stemNames": ["Lead Vocal", "Drum Kit", "Bass"],
                },
            },
        }


def test_too_many_open_tasks_are_429(start: Callable[..., AbstractContextManager[Any]], client: Any) -> None:
    wanted = _request(audioUrl=f"{client.origin}/gated/nothing.mp3", callBackUrl=client.callback_url)
    with start(max_open_tasks=2) as separator:
        first = separator.task(**wanted)
        separator.task(**wanted)
        assert separator.create(**wanted)["code"] == 429
        client.gate.set()
        separator.ended(first)


def test_health_needs_no_key(separator: Any) -> None:
    assert httpx.get(f"{separator.settings.origin}/healthz").status_code == 200


def test_an_unknown_path_is_404_in_the_same_form(separator: Any) -> None:
    answer = separator.http.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer.json() == {"code": 404, "msg": "Not Found", "data": None}


def test_settings_hide_their_secrets(start: Callable[..., AbstractContextManager[Any]]) -> None:
    with start(callback_hmac_key="hmac-secret") as separator:
        assert "the-key" not in repr(separator.settings)
        assert "hmac-secret" not in repr(separator.settings)

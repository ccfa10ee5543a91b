"""A task's whole way, over HTTP: source fetched, engine run, callback posted, stems downloaded."""

import base64
import hashlib
import hmac
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from typing import Any

import httpx
import pytest

Start = Callable[..., AbstractContextManager[Any]]

SPLIT_FIELDS = (
    *("vocal", "backing_vocals", "drums", "bass", "guitar", "piano", "keyboard"),
    *("percussion", "strings", "synth", "fx", "brass", "woodwinds"),
)
DETAIL_FIELDS = {
    *("originUrl", "instrumentalUrl", "vocalUrl", "backingVocalsUrl", "drumsUrl", "bassUrl", "guitarUrl"),
    *("pianoUrl", "keyboardUrl", "percussionUrl", "stringsUrl", "synthUrl", "fxUrl", "brassUrl"),
    *("woodwindsUrl", "originData"),
}


def _wanted(outside: Any, source: str, mode: str = "separate_vocal", **more: str) -> dict[str, str]:
    return {"audioUrl": source, "type": mode, "callBackUrl": outside.callback_url, **more}


def _callback(outside: Any, poll: Callable[..., Any], count: int = 1) -> dict[str, Any]:
    poll(lambda: len(outside.callbacks) >= count, "the callback")
    assert len(outside.callbacks) == count
    return dict(outside.callbacks[-1][1])


def _seconds(url: str, decode: Callable[[bytes], Any]) -> float:
    answer = httpx.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/mpeg"
    return float(decode(answer.content).shape[1] / 44_100)


def test_vocals_and_instrumental(
    separator: Any, outside: Any, poll: Any, short_song: bytes, decode: Any
) -> None:
    task_id = separator.task(**_wanted(outside, outside.source(short_song)))
    body = _callback(outside, poll)
    assert (body["code"], body["msg"]) == (200, "vocal Removal generated successfully.")
    assert body["data"]["task_id"] == task_id
    info = body["data"]["vocal_removal_info"]
    assert set(info) == {"origin_url", "instrumental_url", "vocal_url"}
    for name in ("instrumental_url", "vocal_url"):
        assert info[name].startswith(separator.settings.origin)
        assert _seconds(info[name], decode) == pytest.approx(2.0, abs=0.05)
    headers = outside.callbacks[0][0]
    assert headers["content-type"] == "application/json"
    assert "x-webhook-signature" not in headers

    record = separator.ended(task_id)
    assert record["successFlag"] == "SUCCESS"
    assert record["response"]["vocalUrl"] == info["vocal_url"]
    assert record["response"]["instrumentalUrl"] == info["instrumental_url"]
    assert record["response"]["drumsUrl"] is None
    assert record["response"]["originData"] is None


def test_all_stems(separator: Any, outside: Any, poll: Any, short_song: bytes, decode: Any) -> None:
    task_id = separator.task(**_wanted(outside, outside.source(short_song), "split_stem"))
    info = _callback(outside, poll)["data"]["vocal_removal_info"]
    assert set(info) == {"origin_url", "other_url", *(f"{name}_url" for name in SPLIT_FIELDS)}
    made = {name: url for name, url in info.items() if url}
    assert set(made) == {"vocal_url", "drums_url", "bass_url", "other_url"}
    assert len(set(made.values())) == 4
    for url in made.values():
        assert _seconds(url, decode) == pytest.approx(2.0, abs=0.05)

    response = separator.ended(task_id)["response"]
    assert set(response) == DETAIL_FIELDS | {"otherUrl"}
    assert {name for name, url in response.items() if url} == {"vocalUrl", "drumsUrl", "bassUrl", "otherUrl"}


@pytest.mark.parametrize("name", ["Lead Vocal", "Drum Kit", "Bass"])
def test_one_instrument(separator: Any, outside: Any, poll: Any, short_song: bytes, name: str) -> None:
    wanted = _wanted(outside, outside.source(short_song), "split_stem_advanced", stemName=name)
    task_id = separator.task(**wanted)
    (pair,) = _callback(outside, poll)["data"]["vocal_removal_info"]["origin_data"]
    assert set(pair) == {"extract", "remove"}
    assert pair["extract"]["stem_type_group_name"] == name
    for entry in pair.values():
        assert set(entry) == {"id", "duration", "audio_url", "stem_type_group_name"}
        assert entry["duration"] == pytest.approx(2.0, abs=0.05)
        assert " " not in entry["audio_url"]
        assert httpx.get(entry["audio_url"]).status_code == 200
    record = separator.ended(task_id)
    assert record["response"]["originData"] == [pair["extract"], pair["remove"]]
    assert record["response"]["vocalUrl"] is None


def test_an_instrument_beyond_the_engine_is_refused_in_words(
    separator: Any, outside: Any, poll: Any, short_song: bytes
) -> None:
    wanted = _wanted(outside, outside.source(short_song), "split_stem_advanced", stemName="Piano")
    task_id = separator.task(**wanted)
    assert _callback(outside, poll) == {
        "code": 400,
        "msg": "this engine cannot extract Piano; it knows Lead Vocal, Drum Kit, Bass",
        "data": {"task_id": task_id, "vocal_removal_info": None},
    }
    assert outside.asked == [], "the source was fetched in vain"


def test_redirects_are_followed(separator: Any, outside: Any, short_song: bytes) -> None:
    task_id = separator.task(**_wanted(outside, outside.source(short_song, way="redirected")))
    assert separator.ended(task_id)["successFlag"] == "SUCCESS"


def _closed_port() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/song.mp3"


@pytest.mark.parametrize(
    "fault", ["missing", "no host", "no name", "no server", "too slow", "too large", "too much"]
)
def test_a_source_that_cannot_be_fetched_is_451(start: Start, outside: Any, poll: Any, fault: str) -> None:
    outside.source(bytes(200_000), "large.mp3")
    url = {
        "missing": f"{outside.origin}/source/nothing.mp3",
        "no host": "http://no-such-host.invalid/song.mp3",
        "no name": "http://xn--a/song.mp3",
        "no server": _closed_port(),
        "too slow": f"{outside.origin}/gated/large.mp3",
        "too large": f"{outside.origin}/source/large.mp3",
        "too much": f"{outside.origin}/unannounced/large.mp3",
    }[fault]
    with start(max_source_bytes=100_000, fetch_timeout_s=0.5) as separator:
        task_id = separator.task(**_wanted(outside, url))
        body = _callback(outside, poll)
        assert body["code"] == 451
        assert body["data"] == {"task_id": task_id, "vocal_removal_info": None}
        record = separator.ended(task_id)
        assert record["successFlag"] == "CREATE_TASK_FAILED"
        assert (record["errorCode"], record["errorMessage"]) == (451, body["msg"])
        assert record["response"] is None


@pytest.mark.parametrize("data", [b"", b"this is a text" * 1000])
def test_a_source_that_is_no_audio_is_400(separator: Any, outside: Any, poll: Any, data: bytes) -> None:
    task_id = separator.task(**_wanted(outside, outside.source(data)))
    assert _callback(outside, poll)["code"] == 400
    assert separator.ended(task_id)["errorCode"] == 400


def test_a_song_beyond_the_length_limit_is_400(start: Start, outside: Any, short_song: bytes) -> None:
    with start(max_duration_s=1) as separator:
        record = separator.ended(separator.task(**_wanted(outside, outside.source(short_song))))
        assert record["errorCode"] == 400
        assert "longer than" in record["errorMessage"]


@pytest.mark.parametrize("limit", [{"engine_memory_bytes": 64 * 1024**2}, {"engine_timeout_s": 0.05}])
def test_an_engine_that_fails_is_500(
    start: Start, outside: Any, poll: Any, short_song: bytes, limit: dict[str, Any]
) -> None:
    with start(**limit) as separator:
        task_id = separator.task(**_wanted(outside, outside.source(short_song)))
        assert _callback(outside, poll)["code"] == 500
        assert separator.ended(task_id)["successFlag"] == "GENERATE_AUDIO_FAILED"
        assert separator.http.get("/healthz").status_code == 200


def test_an_engine_that_is_killed_takes_nothing_else_down(
    start: Start, outside: Any, poll: Any, media_files: tuple[bytes, bytes], engine_processes: Any
) -> None:
    song, short_song = media_files
    with start(engine_runs=1) as separator:
        task_id = separator.task(**_wanted(outside, outside.source(song)))
        next_id = separator.task(**_wanted(outside, outside.source(short_song, "next.mp3")))
        (process,) = poll(lambda: engine_processes(os.getpid()), "the engine's process")
        os.kill(process, signal.SIGKILL)
        record = separator.ended(task_id)
        assert (record["errorCode"], record["errorMessage"]) == (500, "the engine ended unexpectedly (-9)")
        assert separator.ended(next_id)["successFlag"] == "SUCCESS"
        assert not list((separator.settings.data / "work").iterdir()), "something was left behind"


def test_tasks_run_in_order(start: Start, outside: Any, poll: Any, short_song: bytes) -> None:
    with start(engine_runs=1) as separator:
        source = outside.source(short_song)
        ids = [separator.task(**_wanted(outside, source)) for _ in range(3)]
        poll(lambda: len(outside.callbacks) == 3, "the callbacks")
    assert [body["data"]["task_id"] for _, body in outside.callbacks] == ids


def test_the_loop_is_free_while_the_engine_works(
    start: Start, outside: Any, poll: Any, media_files: tuple[bytes, bytes], engine_processes: Any
) -> None:
    with start(engine_runs=1) as separator:
        task_id = separator.task(**_wanted(outside, outside.source(media_files[0])))
        (process,) = poll(lambda: engine_processes(os.getpid()), "the engine's process")
        os.kill(process, signal.SIGSTOP)  # it is at work for as long as anybody looks
        for _ in range(3):
            assert separator.http.get("/healthz").status_code == 200
            assert separator.record(task_id)["successFlag"] == "PENDING"


def test_a_callback_is_repeated_until_200(start: Start, outside: Any, poll: Any, short_song: bytes) -> None:
    outside.answers = [500, 201]
    with start() as separator:
        task_id = separator.task(**_wanted(outside, outside.source(short_song)))
        poll(lambda: len(outside.callbacks) == 3, "the third callback")
        assert len({repr(body) for _, body in outside.callbacks}) == 1
        assert separator.ended(task_id)["successFlag"] == "SUCCESS"


def test_after_three_failed_callbacks_only_polling_is_left(
    separator: Any, outside: Any, poll: Any, short_song: bytes
) -> None:
    outside.answers = [503, 302, 404, 200]
    task_id = separator.task(**_wanted(outside, outside.source(short_song)))
    poll(lambda: separator.record(task_id)["successFlag"] == "CALLBACK_EXCEPTION", "giving up")
    assert len(outside.callbacks) == 3
    url = separator.record(task_id)["response"]["vocalUrl"]
    assert httpx.head(url).status_code == 200


def test_a_failed_task_stays_failed_when_the_callback_fails(separator: Any, outside: Any, poll: Any) -> None:
    outside.answers = [500, 500, 500]
    task_id = separator.task(**_wanted(outside, outside.source(b"no audio")))
    poll(lambda: len(outside.callbacks) == 3, "three attempts")
    assert separator.ended(task_id)["errorCode"] == 400


def test_a_callback_is_signed_when_a_key_is_set(start: Start, outside: Any, poll: Any) -> None:
    with start(callback_hmac_key="hmac-key") as separator:
        task_id = separator.task(**_wanted(outside, f"{outside.origin}/source/nothing.mp3"))
        _callback(outside, poll)
    headers = outside.callbacks[0][0]
    timestamp = headers["x-webhook-timestamp"]
    assert abs(int(timestamp) - time.time()) < 60
    expected = hmac.digest(b"hmac-key", f"{task_id}.{timestamp}".encode(), hashlib.sha256)
    assert base64.b64decode(headers["x-webhook-signature"]) == expected


def test_the_object_can_have_its_other_name(start: Start, outside: Any, poll: Any, short_song: bytes) -> None:
    with start(callback_object="vocal_separation_info") as separator:
        separator.task(**_wanted(outside, outside.source(short_song)))
        data = _callback(outside, poll)["data"]
        assert set(data) == {"task_id", "vocal_separation_info"}
        assert data["vocal_separation_info"]["vocal_url"]

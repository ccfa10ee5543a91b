"""Whole tasks over HTTP: source, engine, callback, download."""

import base64
import hashlib
import hmac
import io
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from separator.audio.formats import FileFormat
from separator.engines import known_stems
from separator.modes import STEM_NAMES

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


def _wanted(client: Any, source: str, mode: str = "separate_vocal", **more: Any) -> dict[str, Any]:
    return {"audioUrl": source, "type": mode, "callBackUrl": client.callback_url, **more}


def _callback(client: Any, poll: Callable[..., Any], count: int = 1) -> dict[str, Any]:
    poll(lambda: len(client.callbacks) >= count, "the callback")
    assert len(client.callbacks) == count
    return dict(client.callbacks[-1][1])


def _seconds(url: str, decode: Callable[[bytes], Any]) -> float:
    answer = httpx.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/mpeg"
    return float(decode(answer.content).shape[1] / 44_100)


def test_vocals_and_instrumental(
    separator: Any, client: Any, poll: Any, short_song: bytes, decode: Any
) -> None:
    source = client.source(short_song, way="redirected")
    task_id = separator.task(**_wanted(client, source))
    body = _callback(client, poll)
    assert (body["code"], body["msg"]) == (200, "vocal Removal generated successfully.")
    assert body["data"]["task_id"] == task_id
    info = body["data"]["vocal_removal_info"]
    assert set(info) == {"origin_url", "instrumental_url", "vocal_url"}
    for name in ("instrumental_url", "vocal_url"):
        assert info[name].startswith(separator.settings.origin)
        assert _seconds(info[name], decode) == pytest.approx(0.5, abs=0.05)
    headers = client.callbacks[0][0]
    assert headers["content-type"] == "application/json"
    assert "x-webhook-signature" not in headers

    record = separator.ended(task_id)
    assert record["successFlag"] == "SUCCESS"
    assert record["response"]["vocalUrl"] == info["vocal_url"]
    assert record["response"]["instrumentalUrl"] == info["instrumental_url"]
    assert record["response"]["drumsUrl"] is None
    assert record["response"]["originData"] is None


def test_all_stems_can_be_polled_after_three_failed_callbacks(
    separator: Any, client: Any, poll: Any, short_song: bytes, decode: Any
) -> None:
    client.answers = [503, 302, 404, 200]
    task_id = separator.task(**_wanted(client, client.source(short_song), "split_stem"))
    poll(lambda: separator.record(task_id)["successFlag"] == "CALLBACK_EXCEPTION", "giving up")
    info = _callback(client, poll, 3)["data"]["vocal_removal_info"]
    assert set(info) == {"origin_url", "other_url", *(f"{name}_url" for name in SPLIT_FIELDS)}
    made = {name: url for name, url in info.items() if url}
    assert set(made) == {"vocal_url", "drums_url", "bass_url", "other_url"}
    assert len(set(made.values())) == 4
    for url in made.values():
        assert _seconds(url, decode) == pytest.approx(0.5, abs=0.05)

    response = separator.ended(task_id)["response"]
    assert set(response) == DETAIL_FIELDS | {"otherUrl"}
    assert {name for name, url in response.items() if url} == {"vocalUrl", "drumsUrl", "bassUrl", "otherUrl"}


def test_one_instrument_as_flac(start: Start, client: Any, poll: Any, short_song: bytes) -> None:
    with start(callback_object="vocal_separation_info") as separator:
        wanted = _wanted(client, client.source(short_song), "split_stem_advanced", stemName="Drum Kit")
        task_id = separator.task(**wanted, format="flac", maxFileBytes=50_000_000)
        data = _callback(client, poll)["data"]
        assert set(data) == {"task_id", "vocal_separation_info"}
        (pair,) = data["vocal_separation_info"]["origin_data"]
        assert set(pair) == {"extract", "remove"}
        assert pair["extract"]["stem_type_group_name"] == "Drum Kit"
        for entry in pair.values():
            assert set(entry) == {"id", "duration", "audio_url", "stem_type_group_name"}
            assert entry["duration"] == pytest.approx(0.5, abs=0.05)
            assert " " not in entry["audio_url"]
            assert _container(entry["audio_url"]) == "flac"
        record = separator.ended(task_id)
    assert record["response"]["originData"] == [pair["extract"], pair["remove"]]
    assert record["response"]["vocalUrl"] is None


def _container(url: str) -> str:
    """The format of a file and of its name."""
    with av.open(io.BytesIO(httpx.get(url).content)) as stem:
        name = stem.format.name
    assert url.endswith(f".{name}")
    return name


def test_a_client_that_polls_and_wants_small_flac(
    separator: Any, client: Any, short_song: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a song whose server restarts; the stems are MP3, since as FLAC they exceed the client's limit."""
    wanted = _wanted(client, client.source(short_song, way="restarting"), format="flac")
    wanted |= {"callBackUrl": "https://callback.invalid/none", "maxFileBytes": 1000}
    task_id = separator.task(**wanted)
    record = separator.ended(task_id)
    assert record["successFlag"] == "SUCCESS"  # not CALLBACK_EXCEPTION
    assert client.asked == ["song.mp3"] * 2
    for url in (record["response"]["vocalUrl"], record["response"]["instrumentalUrl"]):
        assert _container(url) == "mp3"
    assert f"task {task_id}: callback failed" not in caplog.text


def test_every_stem_of_the_engine_has_an_instrument_name() -> None:
    named = [stem for stem in STEM_NAMES.values() if stem is not None]
    assert named == ["vocals", "drums", "bass"]
    assert set(named) < set(known_stems("light"))


def test_a_callback_that_is_not_answered_with_200_is_repeated(separator: Any, client: Any, poll: Any) -> None:
    client.answers = [500, 201]
    task_id = separator.task(**_wanted(client, _closed_port(), "separate_vocal"))
    assert _callback(client, poll, 3)["code"] == 451
    assert len({repr(body) for _, body in client.callbacks}) == 1
    assert separator.ended(task_id)["errorCode"] == 451


def _closed_port() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/song.mp3"


def test_a_source_that_cannot_be_downloaded_is_451(start: Start, client: Any, poll: Any) -> None:
    client.source(bytes(200_000), "large.mp3")
    urls = [
        f"{client.origin}/source/nothing.mp3",
        "http://no-such-host.invalid/song.mp3",
        "http://xn--a/song.mp3",
        _closed_port(),
        f"{client.origin}/gated/large.mp3",
        f"{client.origin}/source/large.mp3",
        f"{client.origin}/unannounced/large.mp3",
    ]
    with start(max_source_bytes=100_000, fetch_timeout_s=0.5, callback_hmac_key="hmac-key") as separator:
        ids = [separator.task(**_wanted(client, url)) for url in urls]
        poll(lambda: len(client.callbacks) == len(urls), "the callbacks")
        callbacks = {body["data"]["task_id"]: (headers, body) for headers, body in client.callbacks}
        for url, task_id in zip(urls, ids, strict=True):
            headers, body = callbacks[task_id]
            assert (body["code"], body["data"]["vocal_removal_info"]) == (451, None), url
            record = separator.ended(task_id)
            assert record["successFlag"] == "CREATE_TASK_FAILED"
            assert (record["errorCode"], record["errorMessage"]) == (451, body["msg"])
            assert record["response"] is None
            _check_signature(headers, task_id, b"hmac-key")


def test_all_attempts_to_reach_a_source_take_no_longer_than_one_may(start: Start, client: Any) -> None:
    with start(fetch_timeout_s=0.2, source_pauses_s=(3600,)) as separator:
        task_id = separator.task(**_wanted(client, _closed_port()))
        assert separator.ended(task_id)["errorMessage"] == "the audio could not be downloaded within 0.2 s"


def test_a_task_waits_while_the_disk_cannot_be_written(
    start: Start, client: Any, poll: Any, short_song: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """First by the server, and then by the engine's process, which writes the stems."""
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)
    with start(disk_pause_s=0.1, file_format=FileFormat.WAV) as separator:
        work = separator.settings.data / "work"
        away = work.rename(separator.settings.data / "away")
        task_id = separator.task(**_wanted(client, client.source(short_song)))
        poll(lambda: caplog.text.count("the disk cannot be written") > 3, "several attempts")
        assert separator.record(task_id)["successFlag"] == "PENDING"
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, largest[1]))
            away.rename(work)
            poll(lambda: caplog.text.count("File too large") > 1, "several attempts of the engine")
            assert separator.record(task_id)["successFlag"] == "PENDING"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, largest)
        assert separator.ended(task_id)["successFlag"] == "SUCCESS"
        assert len(list((separator.settings.data / "results").iterdir())) == 1
        assert _callback(client, poll)["code"] == 200


def _check_signature(headers: dict[str, str], task_id: str, key: bytes) -> None:
    timestamp = headers["x-webhook-timestamp"]
    assert abs(int(timestamp) - time.time()) < 600
    expected = hmac.digest(key, f"{task_id}.{timestamp}".encode(), hashlib.sha256)
    assert base64.b64decode(headers["x-webhook-signature"]) == expected


def test_a_source_that_is_too_long_is_400(start: Start, client: Any, poll: Any, short_song: bytes) -> None:
    """As is every other one that the engine refuses."""
    client.answers = [500, 500, 500]
    with start(max_duration_s=0.3) as separator:
        task_id = separator.task(**_wanted(client, client.source(short_song)))
        assert _callback(client, poll, 3)["code"] == 400
        record = separator.ended(task_id)
        assert record["errorCode"] == 400, "a failed callback must not change the result"
        assert "longer than" in record["errorMessage"]


@pytest.mark.parametrize("limit", [{"engine_memory_bytes": 64 * 1024**2}, {"engine_timeout_s": 0.05}])
def test_an_engine_that_fails_is_500(
    start: Start, client: Any, poll: Any, short_song: bytes, limit: dict[str, Any]
) -> None:
    with start(**limit) as separator:
        task_id = separator.task(**_wanted(client, client.source(short_song)))
        assert _callback(client, poll)["code"] == 500
        assert separator.ended(task_id)["successFlag"] == "GENERATE_AUDIO_FAILED"
        assert separator.http.get("/healthz").status_code == 200


def test_a_killed_engine_costs_only_its_own_task(
    start: Start, client: Any, poll: Any, demo_song: Path, short_song: bytes, engine_processes: Any
) -> None:
    with start(engine_runs=1) as separator:
        task_id = separator.task(**_wanted(client, client.source(demo_song.read_bytes())))
        next_id = separator.task(**_wanted(client, client.source(short_song, "next.mp3")))
        (process,) = poll(lambda: engine_processes(os.getpid()), "the engine's process")
        os.kill(process, signal.SIGSTOP)
        assert separator.http.get("/healthz").status_code == 200, "the engine blocks the event loop"
        assert separator.record(task_id)["successFlag"] == "PENDING"
        os.kill(process, signal.SIGKILL)
        record = separator.ended(task_id)
        assert (record["errorCode"], record["errorMessage"]) == (500, "the engine ended unexpectedly (-9)")
        assert separator.ended(next_id)["successFlag"] == "SUCCESS"
        poll(lambda: len(client.callbacks) == 2, "the callbacks")
        assert [body["data"]["task_id"] for _, body in client.callbacks] == [task_id, next_id]
        assert not list((separator.settings.data / "work").iterdir()), "something was left behind"

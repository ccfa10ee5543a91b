"""Each profile that can run here, tried as the documents say."""

import json
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import SANDBOX, Stack

AUTHORITY = "/var/lib/caddy/caddy/pki/authorities/local/root.crt"


@pytest.fixture(scope="module")
def sandbox(clone: Path) -> Iterator[Stack]:
    """All of it, by the lines at the top of `.env.sandbox`."""
    with Stack("sandbox", clone, SANDBOX) as stack:
        stack.up()
        yield stack


def test_a_song_comes_back_from_the_sandbox(sandbox: Stack) -> None:
    sandbox.plays("split_stem", song="first").arrives(4)
    assert "callback, code 200" in sandbox.logs("webhook")
    sandbox.plays("split_stem", song="first").arrives(4)  # free, by what Telegram keeps
    assert "kept by Telegram" in sandbox.logs("bot")


def test_the_separators_image_has_spleeters_model(sandbox: Stack) -> None:
    program = (
        "import os, httpx; "
        "headers = {'Authorization': 'Bearer ' + os.environ['SEPARATION_API_KEY']}; "
        "print(httpx.get('http://separator:8001/api/v1/vocal-removal/abilities', headers=headers).text)"
    )
    abilities = json.loads(sandbox.run("separator", "python", "-c", program))["data"]
    assert (abilities["engine"], abilities["betterEngine"]) == ("spleeter", None)


def test_the_separator_takes_the_largest_song_of_a_bot(sandbox: Stack) -> None:
    """As an upload, without PUBLIC_URL."""
    program = (
        "import os, httpx; "
        "headers = {'Authorization': 'Bearer ' + os.environ['SEPARATION_API_KEY']}; "
        "files = {'file': ('song.wav', bytes(20_000_000))}; "
        "url = 'http://separator:8001/api/file-stream-upload'; "
        "print(httpx.post(url, headers=headers, files=files, timeout=60).json()['code'])"
    )
    assert sandbox.run("separator", "python", "-c", program).strip() == "200"


@pytest.mark.parametrize("service", ["webhook", "bot", "worker", "redis", "separator"])
def test_a_song_outlives_whoever_is_killed(sandbox: Stack, service: str) -> None:
    accepted = sandbox.accepted()
    song = sandbox.plays()
    sandbox.wait_until_accepted(accepted + 1)
    sandbox.kill(service)
    song.arrives(2)
    sandbox.wait_until_well()


def test_over_https_songs_and_results_go_through_the_web_server_and_nothing_else_does(sandbox: Stack) -> None:
    sandbox.configure(
        COMPOSE_PROFILES="sandbox,https,port",
        PUBLIC_URL="https://stemdrop.local/",  # as people write it
        SEPARATION_API_URL="http://separator:8001",  # the bench would lead callbacks past the web server
        LISTEN_PORT="0",
        PRIVATE_PORT="0",
    )
    sandbox.up("--scale", "webhook=2")
    # now there is a certificate to trust
    sandbox.configure(TEST_AUTHORITY=AUTHORITY)
    sandbox.up("--scale", "webhook=2")
    sandbox.plays("split_stem", "--kind", "voice").arrives(4)
    assert "callback, code 200" in sandbox.logs("webhook")
    for path, status in {
        "/callback/forged": 403,
        "/source/forged/audio.mp3": 403,
        "/metrics": 404,
        "/healthz": 404,
        "/docs": 404,
        "/": 404,
    }.items():
        method = "POST" if "callback" in path else "GET"
        assert asked(sandbox, method, f"https://stemdrop.local{path}") == status, path
        assert asked(sandbox, method, f"http://port:8080{path}") == status, path
    assert asked(sandbox, "GET", "http://port:8081/metrics") == 200
    assert asked(sandbox, "POST", "http://port:8081/callback/forged") == 404


def test_the_doctor_finds_nothing_wrong_with_that(sandbox: Stack) -> None:
    report = json.loads(sandbox.run("worker", "stemdrop", "doctor", "--json"))
    assert report["is_well"]
    found = {(it["subject"], it["check"]): it["result"] for it in report["findings"]}
    for check in ("DNS", "connection", "webhook", "callback", "source"):
        assert found["public address", check] == "ok"
    assert found["separation API", "engine"] == "ok"
    assert ("separation API", "credits") not in found


def test_the_web_server_outlives_its_kill(sandbox: Stack) -> None:
    accepted = sandbox.accepted()
    song = sandbox.plays("separate_vocal", "--kind", "document")
    sandbox.wait_until_accepted(accepted + 1)
    sandbox.kill("https")
    song.arrives(2)
    sandbox.wait_until_well()


def test_a_bot_api_server_of_our_own_hands_big_files_over_on_disk(clone: Path, tmp_path: Path) -> None:
    """Telegram's own program is not to be had everywhere: the local Telegram stands in for it, in its place,
    with its volume, in its local mode."""
    song = tmp_path / "big.wav"
    with wave.open(str(song), "wb") as file:
        file.setparams((2, 4, 96_000, 0, "NONE", ""))
        file.writeframes(bytes(range(256)) * (24 * 1000 * 1000 // 256))
    settings = SANDBOX | {
        "COMPOSE_PROFILES": "bigfiles,selfhosted",
        "TELEGRAM_API_URL": "http://telegram:8081",
        "SEPARATION_API_URL": "http://separator:8001",  # no bench is in between
        "TELEGRAM_LOCAL_MODE": "true",
        "PUBLIC_URL": "http://webhook:8000",
    }
    with Stack("bigfiles", clone, settings, Path(__file__).parent / "bigfiles.yml") as stack:
        stack.up()
        big = "/var/lib/stemdrop/telegram/big.wav"
        stack.compose("cp", str(song), f"telegram:{big}")
        stack.plays("separate_vocal", "--song", big, service="telegram").arrives(2)


def asked(stack: Stack, method: str, url: str) -> int:
    """The status with which this is answered, asked from another container."""
    program = "import sys, httpx; print(httpx.request(*sys.argv[1:], json={}).status_code)"
    return int(stack.run("separator", "python", "-c", program, method, url))

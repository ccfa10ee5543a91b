"""Attacks on links are refused as forged and raise no other exception."""

import re
import string
import time
from collections.abc import Callable

import pytest

from stemdrop.domain.jobs import Job
from stemdrop.errors import ExpiredLink, ForgedRequest
from stemdrop.http.signed_links import (
    CALLBACK_LIFETIME_S,
    LINK_CLOCK_SKEW_S,
    SOURCE_LIFETIME_S,
    CallbackToken,
    SignedLinks,
)

BASE = "https://bot.example.com/stems"
CHAT = -1_009_999_999_999  # as long as a chat's id gets
JOB = "0123456789abcdef"
NOW = 1_790_000_000
# signed at that time with the key "secret"
_SIGNED = f"{JOB}.{CHAT}.arE7gA"
FIRST = f"{_SIGNED}.W8GNkwpgpfYiP3xaW9lfeVq5P4QeDokmKv8rktlGJv8Yw8Ot2JtIQpTdWOY-Y7Lq"
LALAL = f"{_SIGNED}.Iev0tjqVNUS9bsZ1NpwPY9xQtItVOXRtbDaQjZ9R3jNEYlAf9BJmj5VDrYSBziNQ"


def links(key: str = "secret", base: str = BASE) -> SignedLinks:
    return SignedLinks(key, base)


def callback_token(of: SignedLinks | None = None) -> str:
    return (of or links()).callback_url(JOB, CHAT).removeprefix(f"{BASE}/callback/")


def source_token(of: SignedLinks | None = None) -> str:
    return (of or links()).source_url(JOB, ".mp3").removeprefix(f"{BASE}/source/").removesuffix("/audio.mp3")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def set_time(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: seconds)

    return set_time


def test_a_signed_token_is_read() -> None:
    assert links().read_callback(callback_token()) == CallbackToken(JOB, CHAT)
    assert links().read_source(source_token()) == JOB


@pytest.mark.parametrize("chat_id", [1, 10_000_001, -1_000_001, CHAT, 2**52, -(2**52)])
def test_every_chat_id_can_be_signed(chat_id: int) -> None:
    token = links().callback_url(JOB, chat_id).rpartition("/")[2]
    assert links().read_callback(token) == CallbackToken(JOB, chat_id)


def test_tokens_stay_readable_after_an_update(at: Callable[[float], None]) -> None:
    """Links that an earlier version has signed are valid for days."""
    at(NOW)
    assert links().read_callback(FIRST) == links().read_callback(LALAL, "lalal") == CallbackToken(JOB, CHAT)
    with pytest.raises(ForgedRequest):
        links().read_callback(LALAL)


def test_every_process_with_the_key_reads_the_token() -> None:
    assert links(base="http://other.example").read_callback(callback_token()) == CallbackToken(JOB, CHAT)


@pytest.mark.parametrize("door", ["callback", "source"])
def test_a_changed_token_is_forged(door: str) -> None:
    token = callback_token() if door == "callback" else source_token()
    read: Callable[[str], object] = links().read_callback if door == "callback" else links().read_source
    letters = string.ascii_letters + string.digits + "-_."
    for i in range(len(token)):
        # at the end all, since some of its bits may mean nothing; elsewhere every eighth
        others = set(letters if i > len(token) - 3 else letters[i % 8 :: 8]) - {token[i]}
        spoiled = [token[:i] + other + token[i + 1 :] for other in others]
        spoiled += [token[:i] + token[i + 1 :]]
        spoiled += [
            token[:i] + junk + token[i:] for junk in ("A", "=", "%", "é", "\x00", "****", " ", "\n", "-")
        ]
        assert [forged for forged in spoiled if not is_refused(read, forged)] == []


def is_refused(read: Callable[[str], object], token: str) -> bool:
    try:
        read(token)
    except ForgedRequest:
        return True
    return False


@pytest.mark.parametrize(
    "junk", ["=", "====", "*", "****", "%%%%", "éé", "\n", "\r\n", " ", "AAAA", ".", "\x00" * 4]
)
def test_a_token_has_one_spelling(junk: str) -> None:
    for forged in (callback_token() + junk, junk + callback_token()):
        with pytest.raises(ForgedRequest):
            links().read_callback(forged)


@pytest.mark.parametrize(
    "token",
    [
        *("", ".", "..", "...", "a", "a.b", "a.b.c", "\ud800", "\x00", "é.é.é", "=" * 100, "." * 10_000),
        f"{JOB}.{CHAT}",
        f"{JOB}.{CHAT}.AAAA.BBBB",
    ],
)
def test_a_text_that_is_no_token_is_forged(token: str) -> None:
    with pytest.raises(ForgedRequest):
        links().read_callback(token)
    with pytest.raises(ForgedRequest):
        links().read_source(token)


def test_a_token_for_another_purpose_is_forged() -> None:
    with pytest.raises(ForgedRequest):
        links().read_callback(source_token())
    with pytest.raises(ForgedRequest):
        links().read_source(callback_token())


def test_a_token_of_another_server_is_forged() -> None:
    with pytest.raises(ForgedRequest):
        links().read_callback(callback_token(links("Secret")))
    with pytest.raises(ForgedRequest):
        links().read_source(source_token(links("secret ")))


def test_a_signature_of_another_token_is_forged() -> None:
    mine, other = callback_token(), links().callback_url(JOB, CHAT - 1).rpartition("/")[2]
    with pytest.raises(ForgedRequest):
        links().read_callback(f"{mine.rpartition('.')[0]}.{other.rpartition('.')[2]}")


@pytest.mark.parametrize(
    ("door", "lifetime_s"), [("callback", CALLBACK_LIFETIME_S), ("source", SOURCE_LIFETIME_S)]
)
def test_a_token_expires(at: Callable[[float], None], door: str, lifetime_s: int) -> None:
    at(NOW)
    token = callback_token() if door == "callback" else source_token()
    read: Callable[[str], object] = links().read_callback if door == "callback" else links().read_source
    at(NOW + lifetime_s)
    read(token)
    at(NOW + lifetime_s + 1)
    with pytest.raises(ExpiredLink):
        read(token)


def test_a_token_signed_a_little_ahead_is_valid(at: Callable[[float], None]) -> None:
    at(NOW + LINK_CLOCK_SKEW_S)
    token, source = callback_token(), source_token()
    at(NOW)
    assert links().read_callback(token).job_id == JOB
    assert links().read_source(source) == JOB


def test_a_token_from_the_future_is_forged(at: Callable[[float], None]) -> None:
    at(NOW + LINK_CLOCK_SKEW_S + 1)
    token = callback_token()
    at(NOW)
    with pytest.raises(ForgedRequest):
        links().read_callback(token)


@pytest.mark.parametrize("extension", [".mp3", ".flac", ".opus", ".aiff", ".webm"])
def test_links_are_short_and_url_safe(extension: str) -> None:
    job_id = Job.new_id()
    for url in (links().callback_url(job_id, CHAT), links().source_url(job_id, extension)):
        beyond = url.removeprefix(BASE)
        assert len(beyond) < 200
        assert re.fullmatch(r"(/[\w.-]+)+", beyond, re.ASCII), beyond


def test_telegrams_secret_is_stable_well_formed_and_of_this_key() -> None:
    secret = links().updates_secret
    assert secret == links(base="http://other").updates_secret
    assert secret != links("other").updates_secret
    assert re.fullmatch(r"[\w-]{32,256}", secret, re.ASCII)
    assert links().updates_url == f"{BASE}/telegram"

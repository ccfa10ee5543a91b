"""Fuzzed input: the parsers raise only documented errors, and their results can be stored."""

import base64
import hashlib
import hmac
import json
import math
import string
from typing import Any
from urllib.parse import urlsplit

import pytest
from fuzzing import JSON, SCALARS, TEXT, fuzzed, mostly
from hypothesis import assume, event, example, given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner

from stemdrop.domain.job_fields import encode
from stemdrop.domain.results import Result
from stemdrop.errors import BadContract, ForgedRequest
from stemdrop.http.signed_links import (
    CALLBACK_LIFETIME_S,
    LINK_CLOCK_SKEW_S,
    SOURCE_LIFETIME_S,
    CallbackToken,
    SignedLinks,
)
from stemdrop.provider import stem_urls
from stemdrop.provider.answer_fields import MAX_ID
from stemdrop.provider.stem_urls import MAX_URL
from stemdrop.provider.sunoapi.answers import MAX_STEMS, STEM_FIELDS, read_callback, read_detail
from stemdrop.provider.sunoapi.signatures import SIGNATURE_WINDOW_S, check_signature

NAMES = (
    st.sampled_from([*STEM_FIELDS, "origin"])
    | st.sampled_from(["hand_drums", "hand-drums", "Hand Drums", "_", "Ü", "\ud800", "x\udfff", ""])
    | TEXT
)
HOSTS = st.sampled_from(
    ["cdn.example", "cdn.example:99999", "[::1]", "[::1", "u:p@h", "ℂ.example", "\ud800", "", "a b", "a\x7f"]
)
PATHS = st.sampled_from(["/a b.mp3", "/%zz", "/\x00", "/ü" * 400, "/" + "a" * 3000, "/\ud800", "/\u2028"])
URLS = mostly(
    st.builds(
        "https://{}{}".format, mostly(st.just("cdn.example"), HOSTS | TEXT), PATHS | TEXT.map("/{}".format)
    ),
    SCALARS | TEXT.map("https:{}".format),
)
CODES = st.sampled_from([451, "200"]) | st.sampled_from([9999, 10_000, -1, True, "٢٠٠", 200.0]) | SCALARS
TASKS = (
    st.sampled_from(["t" * 128, "t" * 129, "任务"])
    | st.sampled_from(["", "\x00", "\ud800", "a\u2028b"])
    | SCALARS
)
PARTS = mostly(
    st.fixed_dictionaries(
        {"audio_url": URLS}, optional={"stem_type_group_name": mostly(NAMES, JSON), "duration": SCALARS}
    ),
    JSON,
)
LISTED = st.lists(
    mostly(PARTS | st.fixed_dictionaries({"extract": PARTS}, optional={"remove": PARTS}), JSON), max_size=5
)


@fuzzed(100)
@given(st.text("aZ0_.:-", min_size=1, max_size=4), st.text("/.~%?#a_-;=", max_size=6).map("/{}".format))
def test_a_plain_url_would_be_quoted_as_it_is(host: str, path: str) -> None:
    url = f"https://{host}{path}"
    assert stem_urls.stem_url(url) == stem_urls._quoted(url)


def named(suffix: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(NAMES.map(lambda name: name + suffix), URLS, min_size=1, max_size=6)


def spelt(objects: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects as they are, as JSON in a text, in a list, and within another object."""
    return (
        objects
        | objects.map(json.dumps)
        | st.lists(objects, max_size=2)
        | objects.map(lambda it: {"response": it})
    )


INFO = mostly(spelt(named("_url") | named("Url") | st.fixed_dictionaries({"origin_data": LISTED})), JSON)
CALLBACKS = st.fixed_dictionaries(
    {
        "code": mostly(st.just(200), CODES),
        "data": mostly(
            spelt(named("Url").map(lambda urls: {"taskId": "task-1", **urls}))
            | st.fixed_dictionaries({"task_id": mostly(st.just("task-1"), TASKS), "vocal_removal_info": INFO})
            | st.fixed_dictionaries(
                {"taskId": mostly(st.just("task-1"), TASKS), "origin_data": mostly(LISTED, JSON)},
                optional={"vocal_separation_info": INFO},
            ),
            JSON,
        ),
    }
)
FLAGS = st.sampled_from(["PENDING", "CREATE_TASK_FAILED", "GENERATE_AUDIO_FAILED", "CALLBACK_EXCEPTION"])
DETAILS = st.fixed_dictionaries(
    {
        "successFlag": st.just("SUCCESS") | mostly(FLAGS, JSON),
        "response": mostly(
            spelt(named("Url") | named("_url")) | st.fixed_dictionaries({"originData": LISTED}), JSON
        ),
    },
    optional={"errorCode": CODES},
)


def check_result(result: Result) -> None:
    """Check that the result survives storing and that no part exceeds its limit."""
    stored = encode({"result": result})["result"].encode()
    assert Result.from_json(json.loads(stored)) == result
    assert 0 <= result.code <= 9999
    assert not result.stems or result.is_success
    assert not (result.stems and result.shape)
    assert len(result.shape) <= 600
    assert "://" not in result.shape
    assert "cdn.example" not in result.shape
    assert len(result.stems) <= MAX_STEMS
    assert len({stem.key for stem in result.stems}) == len(result.stems)
    for stem in result.stems:
        assert 0 < len(stem.key) <= 60
        assert len(stem.name) <= 40
        assert math.isfinite(stem.duration_s)
        assert 0 <= stem.duration_s < 86_400
        assert len(stem.url) <= 12 * MAX_URL  # each letter quoted: four bytes, three letters each
        assert urlsplit(stem.url).scheme in ("http", "https")
        assert urlsplit(stem.url).hostname
        assert stem.url.isprintable()
        assert " " not in stem.url


@fuzzed(40)
@given(mostly(CALLBACKS, JSON))
def test_a_callback_is_a_result_or_not_the_contract(body: object) -> None:
    try:
        task_id, result = read_callback(body, "https://api.kie.ai")
    except BadContract:
        event("refused")
        return
    event(f"{min(len(result.stems), 3)} stems")
    assert 0 < len(task_id.encode().decode()) <= MAX_ID
    check_result(result)


@fuzzed(40)
@given(mostly(DETAILS, JSON))
def test_a_detail_is_a_result_none_yet_or_not_the_contract(data: object) -> None:
    try:
        result = read_detail(data, "")
    except BadContract:
        event("refused")
        return
    event("none yet" if result is None else f"{min(len(result.stems), 3)} stems")
    if result is not None:
        check_result(result)


IDS = st.builds(lambda number: f"{number:016x}", st.integers(0, 2**64 - 1))
CHATS = st.integers(-(2**52), 2**52)
EXTENSIONS = st.sampled_from([".mp3", ".m4a", ".flac", ".webm"])
# All that UTF-8 can encode; asked for its codec, Hypothesis tries each character first, for three seconds.
ENCODABLE = st.characters(exclude_categories=["Cs"])
SECRETS = st.text(ENCODABLE, min_size=1, max_size=40)
# what decoders of base64 pass over comes first
SPOILT = st.sampled_from(["=", "\n", "+", " ", "é"]) | st.text(
    st.sampled_from(string.ascii_letters + "-_."), max_size=3
)
LETTERS = st.sampled_from(string.ascii_letters + string.digits + "-_.+/= \n%\x00ü")


@fuzzed(20)
@given(SECRETS, IDS, CHATS, EXTENSIONS)
def test_links_return_what_was_signed(secret: str, job_id: str, chat_id: int, extension: str) -> None:
    links = SignedLinks(secret, "")
    callback, source = links.callback_url(job_id, chat_id), links.source_url(job_id, extension)
    assert len(callback) < 200
    assert len(source) < 200
    assert links.read_callback(callback.rpartition("/")[2]) == CallbackToken(job_id, chat_id)
    assert links.read_source(source.split("/")[2]) == job_id


@fuzzed(20)
@given(st.data(), IDS, CHATS)
def test_a_token_has_one_spelling(data: st.DataObject, job_id: str, chat_id: int) -> None:
    links = SignedLinks("secret", "")
    callback = links.callback_url(job_id, chat_id).rpartition("/")[2]
    source = links.source_url(job_id, ".mp3").split("/")[2]
    for token, read in ((callback, links.read_callback), (source, links.read_source)):
        start = data.draw(st.integers(0, len(token)))
        end = start + data.draw(st.integers(0, 2))
        other = token[:start] + data.draw(SPOILT) + token[end:]
        assume(other != token)
        with pytest.raises(ForgedRequest):
            read(other)
    with pytest.raises(ForgedRequest):
        links.read_callback(source)
    with pytest.raises(ForgedRequest):
        links.read_source(callback)


@fuzzed(20)
@given(TEXT | st.text(LETTERS) | st.lists(st.text(LETTERS, max_size=30), max_size=5).map(".".join))
def test_foreign_tokens_are_forged(token: str) -> None:
    links = SignedLinks("secret", "")
    for read in (links.read_callback, links.read_source):
        with pytest.raises(ForgedRequest):
            read(token)


@fuzzed(20)
@given(IDS, CHATS, st.integers(-2 * CALLBACK_LIFETIME_S, 2 * CALLBACK_LIFETIME_S))
@example("0" * 16, 1, -LINK_CLOCK_SKEW_S)
@example("0" * 16, 1, -LINK_CLOCK_SKEW_S - 1)
@example("0" * 16, 1, SOURCE_LIFETIME_S)
@example("0" * 16, 1, SOURCE_LIFETIME_S + 1)
@example("0" * 16, 1, CALLBACK_LIFETIME_S)
@example("0" * 16, 1, CALLBACK_LIFETIME_S + 1)
def test_a_token_is_valid_for_its_lifetime(job_id: str, chat_id: int, age_s: int) -> None:
    links = SignedLinks("secret", "")
    now = TimestampSigner("secret").get_timestamp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TimestampSigner, "get_timestamp", lambda self: now - age_s)
        callback = links.callback_url(job_id, chat_id).rpartition("/")[2]
        source = links.source_url(job_id, ".mp3").split("/")[2]
        patch.setattr(TimestampSigner, "get_timestamp", lambda self: now)
        for lifetime_s, read, token in (
            (CALLBACK_LIFETIME_S, links.read_callback, callback),
            (SOURCE_LIFETIME_S, links.read_source, source),
        ):
            if -LINK_CLOCK_SKEW_S <= age_s <= lifetime_s:
                read(token)
            else:
                with pytest.raises(ForgedRequest):
                    read(token)


KEYS = st.text(ENCODABLE, min_size=1, max_size=40)
TIMES = (
    TEXT | st.integers(-(10**13), 10**13).map(str) | st.sampled_from(["1e9", "+1", "١", "0x1", "1_000", "²"])
)


@fuzzed(20)
@given(KEYS, TEXT, TIMES, TEXT, st.floats(0, 4e9))
def test_a_signature_that_was_made_up_is_forged(
    key: str, task_id: str, timestamp: str, signature: str, now: float
) -> None:
    with pytest.raises(ForgedRequest):
        check_signature(key, task_id, timestamp, signature, lambda: now)


@fuzzed(20)
@given(KEYS, TEXT, st.integers(0, 10**11), st.floats(-2 * SIGNATURE_WINDOW_S, 2 * SIGNATURE_WINDOW_S))
@example("k", "t", 10**9, -SIGNATURE_WINDOW_S)
@example("k", "t", 10**9, SIGNATURE_WINDOW_S)
@example("k", "t", 10**9, -SIGNATURE_WINDOW_S - 1)
@example("k", "t", 10**9, SIGNATURE_WINDOW_S + 1)
def test_a_signature_holds_for_its_task_key_and_time(key: str, task_id: str, at: int, off_s: float) -> None:
    assume(at + off_s >= 0)
    signature = sign(key, task_id, at)
    if abs(at + off_s - at) <= SIGNATURE_WINDOW_S:
        check_signature(key, task_id, str(at), signature, lambda: at + off_s)
    else:
        with pytest.raises(ForgedRequest):
            check_signature(key, task_id, str(at), signature, lambda: at + off_s)
    for other in ((key + "x", task_id, at), (key, task_id + "x", at), (key, task_id, at + 1)):
        with pytest.raises(ForgedRequest):
            check_signature(key, task_id, str(at), sign(*other), lambda: at)


def sign(key: str, task_id: str, at: int) -> str:
    """Sign as the provider's documentation says."""
    message = f"{task_id}.{at}".encode(errors="surrogatepass")
    return base64.b64encode(hmac.new(key.encode(), message, hashlib.sha256).digest()).decode()

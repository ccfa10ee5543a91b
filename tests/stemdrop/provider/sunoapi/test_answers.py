"""Every known form of the provider's answer is a file and a row; other answers raise `BadContract`."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import TASK

from stemdrop.domain.failures import failure_of
from stemdrop.domain.job_fields import encode
from stemdrop.domain.jobs import Failure
from stemdrop.domain.results import Result, Stem
from stemdrop.errors import BadContract
from stemdrop.provider.answer_fields import MAX_ID
from stemdrop.provider.answer_shape import MAX_DEPTH
from stemdrop.provider.sunoapi.answers import (
    MAX_STEMS,
    MAX_VALUES,
    read_callback,
    read_detail,
    read_download_url,
    read_task_id,
)

API = "https://api.sunoapi.org"
FORMS = Path(__file__).parent / "forms"

SPLIT = (
    *("vocals", "backing_vocals", "drums", "bass", "guitar"),
    *("keyboard", "percussion", "strings", "synth", "fx", "brass", "woodwinds"),
)
GAPS = ("vocals", "bass", "keyboard", "percussion", "strings", "brass", "woodwinds")
ALL = ("vocals", "instrumental", *SPLIT[1:5], "piano", *SPLIT[5:])
BOTH = ("vocals", "instrumental")
ONE = ("lead_vocal", "lead_vocal_rest")

# form → (code, keys of the stems in order)
CALLBACKS: dict[str, tuple[int, tuple[str, ...]]] = {
    "callback_separate_vocal": (200, BOTH),
    "callback_separate_vocal_other_host": (200, BOTH),
    "callback_origin_is_no_stem": (200, BOTH),
    "callback_code_as_text": (200, BOTH),
    "callback_split_stem": (200, SPLIT),
    "callback_split_stem_other_host": (200, SPLIT),
    "callback_split_stem_with_gaps": (200, GAPS),
    "callback_split_stem_piano": (200, ("vocals", "piano")),
    "callback_unknown_stems": (200, ("vocals", "hand_drums", "choir")),
    "callback_advanced_nested": (200, ONE),
    "callback_advanced_nested_other_host": (200, ONE),
    "callback_advanced_nested_beside": (200, ONE),
    "callback_advanced_beside_alone": (200, ONE),
    "callback_advanced_beside_and_null_within": (200, ONE),
    "callback_advanced_flat": (200, ("lead_vocal", "drum_kit")),
    "callback_advanced_flat_beside": (200, ("lead_vocal", "drum_kit")),
    "callback_advanced_only_extract": (200, ("kick",)),
    "callback_spaces_in_urls": (200, BOTH),
    "callback_no_stems": (200, ()),
    "callback_success_without_object": (200, ()),
    "callback_failed_400_null": (400, ()),
    "callback_failed_451_absent": (451, ()),
    "callback_failed_500_other_host": (500, ()),
    "callback_failed_531": (531, ()),
}
# form → the same, or None while there is no result
DETAILS: dict[str, tuple[int, tuple[str, ...]] | None] = {
    "detail_success_all_fields": (200, ALL),
    "detail_success_separate_vocal": (200, BOTH),
    "detail_success_named_and_listed": (200, BOTH),
    "detail_success_advanced_flat": (200, ("lead_vocal", "drum_kit")),
    "detail_success_advanced_nested": (200, ONE),
    "detail_success_unknown_stem": (200, ("vocals", "hand_drums")),
    "detail_success_empty": (200, ()),
    "detail_pending": None,
    "detail_create_failed": (413, ()),
    "detail_create_failed_without_code": (500, ()),
    "detail_generate_failed": (451, ()),
    "detail_generate_failed_without_code": (501, ()),
    "detail_generate_failed_code_200": (500, ()),
    "detail_callback_exception_with_response": (200, BOTH),
    "detail_callback_exception_without_response": None,
    "detail_callback_exception_empty_response": None,
}


def form(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FORMS / f"{name}.json").read_text("utf-8"))
    return found


def callback(**info: object) -> dict[str, Any]:
    """Return a valid body; `info` replaces the fields of its object."""
    body = form("callback_separate_vocal")
    if info:
        body["data"]["vocal_removal_info"] = info
    return body


def test_every_form_is_in_a_table() -> None:
    assert {path.stem for path in FORMS.glob("*.json")} == CALLBACKS.keys() | DETAILS.keys()


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_known_callback(name: str) -> None:
    task_id, result = read_callback(form(name), API)
    assert task_id == TASK
    assert (result.code, tuple(stem.key for stem in result.stems)) == CALLBACKS[name]
    assert result.is_success is (result.code == 200)


@pytest.mark.parametrize("name", DETAILS)
def test_a_known_detail(name: str) -> None:
    result = read_detail(form(name), API)
    found = None if result is None else (result.code, tuple(stem.key for stem in result.stems))
    assert found == DETAILS[name]


def test_each_stem_has_its_own_url() -> None:
    _, result = read_callback(form("callback_split_stem"), API)
    urls = {stem.key: stem.url for stem in result.stems}
    assert urls["vocals"] == "https://files.example.com/t1/vocal.mp3"
    assert urls["drums"] == "https://files.example.com/t1/drums.mp3"
    assert len(set(urls.values())) == 12


def test_an_unknown_stem_has_a_readable_name() -> None:
    for result in (
        read_callback(form("callback_unknown_stems"), API)[1],
        read_detail(form("detail_success_unknown_stem"), API),
    ):
        assert result is not None
        assert result.stems[1].name == "Hand drums"


def test_one_instrument_and_the_rest_are_told_apart() -> None:
    _, result = read_callback(form("callback_advanced_nested"), API)
    extract, rest = result.stems
    assert (extract.name, extract.is_rest, extract.duration_s) == ("Lead Vocal", False, 29.98)
    assert (rest.name, rest.is_rest, rest.duration_s) == ("Lead Vocal", True, 29.98)


def test_spaces_are_quoted_once() -> None:
    _, result = read_callback(form("callback_spaces_in_urls"), API)
    assert [stem.url for stem in result.stems] == [
        "https://files.example.com/t1/my%20song_Lead%20Vocal.mp3?a=b%20c",
        "https://files.example.com/t1/100%25%20gi%C3%A0_fatto.mp3",
    ]


def test_callback_and_detail_agree_on_keys() -> None:
    """A stem that was delivered from one must not be delivered again from the other."""
    for one, other in (
        ("callback_separate_vocal", "detail_success_separate_vocal"),
        ("callback_separate_vocal", "detail_success_named_and_listed"),
        ("callback_advanced_nested", "detail_success_advanced_nested"),
        ("callback_advanced_flat", "detail_success_advanced_flat"),
    ):
        assert CALLBACKS[one] == DETAILS[other]


def test_named_stems_win_over_listed_stems() -> None:
    assert read_detail(form("detail_success_named_and_listed"), API) == read_detail(
        form("detail_success_separate_vocal"), API
    )


def test_the_rest_is_named_after_the_removed_instrument() -> None:
    extract = {"audio_url": "https://files.example.com/a.mp3", "stem_type_group_name": "Bass"}
    rest = {"audio_url": "https://files.example.com/b.mp3", "stem_type_group_name": "Without Bass"}
    _, result = read_callback(callback(origin_data=[{"extract": extract, "remove": rest}]), API)
    assert [(stem.name, stem.is_rest) for stem in result.stems] == [("Bass", False), ("Bass", True)]


def test_two_stems_of_one_name_have_different_keys() -> None:
    entry = {"audio_url": "https://files.example.com/a.mp3", "stem_type_group_name": "Piano"}
    second = {**entry, "audio_url": "https://files.example.com/b.mp3"}
    _, result = read_callback(callback(origin_data=[entry, second]), API)
    assert [(stem.key, stem.url[-5:]) for stem in result.stems] == [("piano", "a.mp3"), ("piano_2", "b.mp3")]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "ftp://files.example.com/a.mp3",
        "file:///etc/passwd",
        "//files.example.com/a.mp3",
        "https://",
        "https://[::1/a.mp3",
        "https://a℀b.example/",
        "https://files example/a.mp3",
        "https://files.example.com\x7f/a.mp3",
        "https://files.example.com\u2028/a.mp3",
        "https://files.example.com\ud800/a.mp3",
        "https://files.example.com/" + 2100 * "a",
        "https://files.example.com/\ud800.mp3",
        "\x00",
        17,
        True,
        ["https://files.example.com/a.mp3"],
        {"url": "https://files.example.com/a.mp3"},
    ],
)
def test_a_value_that_is_no_url_is_no_stem(url: object) -> None:
    _, result = read_callback(
        callback(vocal_url=url, instrumental_url="https://files.example.com/i.mp3"), API
    )
    assert [stem.key for stem in result.stems] == ["instrumental"]


def _without(name: str) -> dict[str, Any]:
    body = callback()
    del (body["data"] if name == "task_id" else body)[name]
    return body


def _with_data(**data: object) -> dict[str, Any]:
    body = callback()
    body["data"].update(data)
    return body


NOT_THE_CONTRACT: list[object] = [
    *(None, True, 0, 200, 1.5, "text", [], [callback()], {}),
    _without("code"),
    _without("data"),
    _without("task_id"),
    *({**callback(), "code": code} for code in (None, True, False, -1, 10_000, 10**400, 200.0, "", "x")),
    *({**callback(), "code": code} for code in ("20000", "²", "-1", [200], {"code": 200})),
    *({**callback(), "data": data} for data in (None, list[object](), "", 1, True)),
    *(_with_data(task_id=value) for value in (None, "", 0, 17, True, [TASK], {TASK: 1}, "x" * (MAX_ID + 1))),
    *(_with_data(task_id=value) for value in ("\ud800", "task\udfff")),
    *(_with_data(vocal_removal_info=value) for value in ("x", 1, True, list[object]())),
    callback(**{f"stem{number}_url": f"https://a.b/{number}" for number in range(MAX_STEMS + 1)}),
    callback(origin_data=[{"audio_url": f"https://a.b/{n}"} for n in range(MAX_STEMS + 1)]),
]


@pytest.mark.parametrize(
    "body", NOT_THE_CONTRACT, ids=lambda body: repr(body)[:60].encode("ascii", "replace").decode()
)
def test_a_callback_that_is_not_the_contract(body: object) -> None:
    with pytest.raises(BadContract):
        read_callback(body, API)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        1,
        True,
        {},
        {"successFlag": None},
        {"successFlag": "DONE"},
        {"successFlag": ["SUCCESS"]},
        {"successFlag": 17 * "SUCCESS"},
        {
            "successFlag": "SUCCESS",
            "response": {f"stem{n}Url": f"https://a.b/{n}" for n in range(MAX_STEMS + 1)},
        },
    ],
)
def test_a_detail_that_is_not_the_contract(data: object) -> None:
    with pytest.raises(BadContract):
        read_detail(data, API)


VOCAL, BASS = "https://files.example.com/v.mp3", "https://files.example.com/b.mp3"
INFO = {"vocal_url": VOCAL, "bass_url": BASS}
CAMEL = {"vocalUrl": VOCAL, "bassUrl": BASS}
# what a success may hold beside the task id, all of it the same two stems
SPELLINGS: list[dict[str, object]] = [
    {"vocal_removal_info": CAMEL},
    {"vocalRemovalInfo": CAMEL},
    {"vocalSeparationInfo": INFO},
    {"response": CAMEL},
    {"response": {"vocal_removal_info": INFO}},
    {"response": json.dumps(CAMEL)},
    {"vocal_removal_info": json.dumps(INFO)},
    {"vocal_removal_info": json.dumps({"response": json.dumps(CAMEL)})},
    {"vocal_removal_info": {}, "vocal_separation_info": INFO},
    {"vocal_removal_info": {"vocal_url": VOCAL}, "vocal_separation_info": INFO},
    {"vocal_removal_info": {"vocal_url": "", "vocalUrl": VOCAL, "bass_url": BASS}},
    {"vocal_removal_info": None, "response": {"info": INFO}},
    {"vocal_removal_info": [INFO]},
    {"result": {**INFO, "image_url": "https://files.example.com/cover", "coverUrl": VOCAL}},
    {"vocal_removal_info": {**INFO, "cover_art_url": "https://files.example.com/a.JPG?x=1"}},
    {"instrumentalUrl": None, "stream_audio_url": VOCAL, **CAMEL},
]


@pytest.mark.parametrize("data", SPELLINGS, ids=lambda data: json.dumps(data)[:50])
def test_every_spelling_of_a_success_is_read(data: dict[str, object]) -> None:
    """As callback and as detail, as objects and as text."""
    found: list[Result | None] = []
    for task in ({"task_id": TASK}, {"taskId": TASK}):
        whole = {"code": "200", "data": {**task, **data}}
        for body in (whole, {**whole, "data": json.dumps(whole["data"])}, json.dumps(whole)):
            task_id, result = read_callback(body, API)
            assert task_id == TASK
            found.append(result)
        for detail in ({"successFlag": "SUCCESS", **data}, {"success_flag": "success", **data}):
            found += [read_detail(detail, API), read_detail(json.dumps(detail), API)]
    for read in found:
        assert read is not None
        assert [(stem.key, stem.url) for stem in read.stems] == [("vocals", VOCAL), ("bass", BASS)]
        assert read.shape == ""


@pytest.mark.parametrize(
    ("body", "task_id"),
    [
        ({"code": 200, "data": TASK}, TASK),
        ({"code": 200, "data": INFO, "taskId": TASK}, TASK),
        ({"code": "501", "data": TASK}, TASK),
        ({"code": " 451 ", "data": {"data": {"task_id": TASK}}}, TASK),
    ],
)
def test_every_spelling_of_a_task_id_is_read(body: dict[str, Any], task_id: str) -> None:
    assert read_callback(body, API)[0] == task_id
    assert read_task_id(body["data"]) == ("" if "taskId" in body else task_id)


@pytest.mark.parametrize(
    "data", [VOCAL, {"downloadUrl": VOCAL}, {"file": {"download_url": VOCAL}}, {"url": VOCAL}]
)
def test_every_spelling_of_an_uploads_url_is_read(data: object) -> None:
    assert read_download_url(data) == read_download_url(json.dumps(data) if data != VOCAL else data) == VOCAL


SECRET = "https://files.example.com/secret.mp3?sig=secret"
UNKNOWN: list[dict[str, object]] = [
    {"vocal_removal_info": {"stems": {"vocals": SECRET}}},
    {"vocal_removal_info": {"voice": "secret"}},
    {"tracks": [{"name": "secret", "file": SECRET}]},
    {"vocal_removal_info": {"origin_data": [{"file_url": SECRET, SECRET: 1}]}},
    {"response": {"files": [SECRET, SECRET]}},
]


@pytest.mark.parametrize("data", UNKNOWN, ids=repr)
def test_a_success_in_an_unknown_form_has_its_shape_and_no_values(data: dict[str, object]) -> None:
    results: list[Result | None] = [
        read_callback({"code": 200, "data": {"task_id": TASK, **data}}, API)[1],
        read_detail({"successFlag": "SUCCESS", **data}, API),
        read_detail({"successFlag": "CALLBACK_EXCEPTION", **data}, API),
    ]
    for result in results:
        assert result is not None
        assert result.stems == ()
        assert set(data) <= set(result.shape.replace("{", " ").replace(":", " ").split())
        assert "secret" not in result.shape
        assert failure_of(result) == Failure("unknown_form", charged=True)


@pytest.mark.parametrize("value", [None, {}, "", {"originUrl": VOCAL, "vocalUrl": None, "imageUrl": VOCAL}])
def test_a_success_without_urls_is_known_and_empty(value: object) -> None:
    result = read_detail({"successFlag": "SUCCESS", "response": value, "callBackUrl": VOCAL}, API)
    assert result == Result(200)


def test_what_is_nested_too_deep_is_not_read() -> None:
    deep: object = INFO
    for _ in range(MAX_DEPTH):
        deep = {"response": json.dumps(deep)} if isinstance(deep, dict) and len(str(deep)) < 9999 else [deep]
    assert read_detail({"successFlag": "SUCCESS", "response": deep}, API) is not None
    assert not read_callback({"code": 200, "data": {"task_id": TASK, "response": deep}}, API)[1].stems
    hostile = {"task_id": TASK, "response": "[" * 100_000}
    assert not read_callback({"code": 200, "data": hostile}, API)[1].stems


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/Song #1 (C# minor)_Vocals.mp3", "/Song%20%231%20(C%23%20minor)_Vocals.mp3"),
        ("/What is love?_Vocals.mp3", "/What%20is%20love%3F_Vocals.mp3"),
        (
            "/Why? #2.mp3?Expires=1&Signature=a%2Fb+c~d==",
            "/Why%3F%20%232.mp3?Expires=1&Signature=a%2Fb+c~d==",
        ),
        ("/a.mp3?X-Amz-Signature=ab%3Dc&x=d?e", "/a.mp3?X-Amz-Signature=ab%3Dc&x=d?e"),
        ("/a.mp3#t=10", "/a.mp3"),
        ("/a.mp3?sig=abc#t=10", "/a.mp3?sig=abc"),
        ("/get?file=a.mp3&sig=x", "/get?file=a.mp3&sig=x"),
        ("/get?file=a.mp3", "/get?file=a.mp3"),
        ("/v1.0?id=7", "/v1.0?id=7"),
        ("/stem/17#part", "/stem/17"),
        ("/100% live.wav", "/100%25%20live.wav"),
        ("/100%25.WAV?a=b%20c", "/100%25.WAV?a=b%20c"),
    ],
)
def test_signs_of_a_file_name_are_quoted_and_a_query_stays(given: str, path: str) -> None:
    _, result = read_callback(callback(vocal_url=f"https://files.example.com{given}"), API)
    assert [stem.url for stem in result.stems] == [f"https://files.example.com{path}"]


NASTY: list[object] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1e308,
        float("nan"),
        float("inf"),
        10**500,
        "",
        " ",
        "\x00",
        "\ud800",
        "a" * 100_000,
    ),
    *(
        "http://",
        "http://[",
        "http://[]",
        "https://a:b:c",
        "http://\ud800",
        "https://x/\udfff?\udfff",
        "http:// /",
    ),
    *([], {}, [[]], [None], [{}], [[{}]], {"": None}, {"\ud800": "\ud800"}, {"_url": "https://a.b/c"}),
    {"extract": 1, "remove": []},
    [{"extract": {"audio_url": "https://a.b/\ud800", "stem_type_group_name": "\ud800", "duration": 10**400}}],
    [{"extract": {"audio_url": "https://a.b/c", "stem_type_group_name": "\ud800", "duration": float("nan")}}],
    [{"audio_url": "https://a.b/c", "stem_type_group_name": {"a": 1}, "duration": "12"}],
    [{"audio_url": "https://a.b/c", "stem_type_group_name": "\n\x00{}%s" * 1000}],
    {"vocal_url": {}, "\ud800_url": "https://a.b/c", "Url": 1, "_url": 2, "__url": "https://a.b/c"},
]


@pytest.mark.parametrize("number", range(len(NASTY)))
def test_unexpected_values_raise_only_bad_contract(number: int) -> None:
    """At every place of both bodies; an accepted result can be stored."""
    nasty, nested = NASTY[number], form("detail_success_advanced_nested")
    # its other fields are those of the detail with all fields
    nested["response"] = {name: nested["response"][name] for name in ("originUrl", "vocalUrl", "originData")}
    for template, parse in (
        (form("callback_separate_vocal"), read_callback),
        (form("callback_advanced_nested_beside"), read_callback),
        (form("detail_success_all_fields"), read_detail),
        (form("detail_generate_failed"), read_detail),
        (nested, read_detail),
    ):
        for body in itertools.chain([nasty], _spoiled(template, nasty)):
            try:
                parsed = parse(body, API)
            except BadContract:
                continue
            task_id, result = parsed if isinstance(parsed, tuple) else (TASK, parsed)
            task_id.encode()
            if result is not None:
                encode({"result": result})["result"].encode()
                assert len({stem.key for stem in result.stems}) == len(result.stems) <= MAX_STEMS


def _spoiled(template: dict[str, Any], nasty: object) -> Iterator[dict[str, Any]]:
    """Yield the template with each value, and one unknown `…_url`, replaced in turn."""
    for path in _paths(template):
        place: Any = template
        for step in path[:-1]:
            place = place[step]
        before, place[path[-1]] = place[path[-1]], nasty
        yield template
        place[path[-1]] = before


def _paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in ((*path, key), *_paths(inner, (*path, key)))]


@pytest.mark.parametrize("name", ["callback_split_stem", "callback_advanced_nested", "callback_failed_531"])
def test_a_result_comes_back_as_it_was_stored(name: str) -> None:
    _, result = read_callback(form(name), API)
    assert Result.from_json(json.loads(encode({"result": result})["result"])) == result


def test_a_stored_result_is_unchanged() -> None:
    result = Result(
        200, (Stem("hand_drums", "https://a.b/c%20d", "手鼓 {x} \"'\\", is_rest=True, duration_s=1.5),)
    )
    assert Result.from_json(json.loads(encode({"result": result})["result"])) == result


@pytest.mark.parametrize(
    "values",
    [[[]] * MAX_VALUES, {str(number): {} for number in range(MAX_VALUES)}, json.dumps([0] * MAX_VALUES)],
)
def test_an_answer_of_too_many_values_is_not_read_to_its_end(values: object) -> None:
    with pytest.raises(BadContract, match="values"):
        read_callback({"code": 200, "data": {"task_id": TASK, "other": values}}, API)

"""LALAL.AI's answers in the forms of its OpenAPI document, and each with one part spoiled."""

from typing import Any

import pytest

from stemdrop.domain.results import Result, Stem
from stemdrop.errors import BadContract, Refused
from stemdrop.provider.interface import Report
from stemdrop.provider.lalal.answers import read_id, read_minutes, read_report, read_tasks

URL = "https://d.lalal.ai/2fe8f214/abcd1234/"
GONE = "['The file has not been uploaded properly or has already been deleted. Please upload it again.']"
ODD: tuple[object, ...] = (None, True, 7, "text", [], [{}], {}, float("nan"))


def track(label: str, kind: str = "stem") -> dict[str, Any]:
    return {"type": kind, "label": label, "url": URL + label, "playlist_file": None, "size": None}


def success(*tracks: object) -> dict[str, Any]:
    return {
        "status": "success",
        "source_id": "ecb6c2c5",
        "presets": {"task_type": "split", "label": "enhanced"},
        "result": {"duration": 16, "tracks": list(tracks)},
    }


def stem(key: str, label: str, name: str = "", *, is_rest: bool = False) -> Stem:
    return Stem(key, URL + label, name, is_rest, 16)


@pytest.mark.parametrize(
    ("tracks", "stems"),
    [
        pytest.param(
            [track("vocals"), track("no_vocals", "back")],
            [stem("vocals", "vocals"), stem("instrumental", "no_vocals")],
            id="vocals",
        ),
        pytest.param(
            [track("synthesizer"), track("no_synthesizer", "back")],
            [
                stem("synth", "synthesizer", "Synth"),
                stem("synth_rest", "no_synthesizer", "Synth", is_rest=True),
            ],
            id="one instrument",
        ),
        pytest.param(
            [track("vocals"), track("drum"), track("acoustic_guitar"), track("no_multistem", "back")],
            [
                stem("vocals", "vocals"),
                stem("drums", "drum", "Drum Kit"),
                stem("acoustic_guitar", "acoustic_guitar", "Acoustic Guitar"),
                stem("other", "no_multistem"),
            ],
            id="several stems",
        ),
        pytest.param([track("hand_pan")], [stem("hand_pan", "hand_pan", "Hand pan")], id="a new stem"),
    ],
)
def test_stems(tracks: list[dict[str, Any]], stems: list[Stem]) -> None:
    assert read_report(success(*tracks)) == Report(Result(200, tuple(stems)))


@pytest.mark.parametrize("part", ["url", "label"])
@pytest.mark.parametrize("odd", [*ODD, "ftp://a/b" * 9, "\n"])
def test_a_track_that_cannot_be_read_is_left_out(part: str, odd: object) -> None:
    if (part, odd) == ("label", "text"):
        return
    found = read_report(success({**track("drum"), part: odd}, odd, track("bass"))).result
    assert found
    assert [stem.key for stem in found.stems] == ["bass"]


@pytest.mark.parametrize("odd", [*ODD, {"tracks": None}, {"tracks": [track("")] * 65}])
def test_a_success_of_unknown_form_tells_its_shape(odd: object) -> None:
    found = read_report({**success(), "result": odd}).result
    assert found
    assert (found.code, found.stems) == (200, ())
    assert found.shape.startswith("{status: text")
    assert read_report(success()) == Report(Result(200))


@pytest.mark.parametrize(
    ("percent", "told"),
    [(42, 42), (0, 0), (100, 100), (101, None), (-1, None), (True, None), ("7", None), (None, None)],
)
def test_progress(percent: object, told: int | None) -> None:
    assert read_report({"status": "progress", "progress": percent}) == Report(progress=told)


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({"status": "error", "error": {"detail": "Unable to detect voice/vocals", "code": "x"}}, 501),
        ({"status": "error", "error": {"detail": "?", "code": "inference_error", "id": "1"}}, 500),
        *(({"status": "error", "error": odd}, 500) for odd in ODD),
        ({"status": "cancelled"}, 500),
        ({"status": "server_error", "error": GONE}, 451),
    ],
)
def test_failures_count_as_charged(entry: object, code: int) -> None:
    result = read_report(entry).result
    assert result == Result(code)
    assert not result.is_refunded


def test_what_the_server_cannot_find_out_is_no_failure() -> None:
    with pytest.raises(Refused, match="Failed to extract"):
        read_report({"status": "server_error", "error": "Failed to extract information about task"})


@pytest.mark.parametrize("odd", [*ODD, {"status": "paused"}, {"status": None}, {"status": []}])
def test_an_entry_of_another_shape_is_refused(odd: object) -> None:
    with pytest.raises(BadContract):
        read_report(odd)


@pytest.mark.parametrize("odd", [*ODD, {"result": []}, {"task_id": 7}, {"task_id": "a" * 129}])
def test_other_answers_of_another_shape_are_refused(odd: object) -> None:
    for read in (read_tasks, read_minutes, lambda data: read_id(data, "task_id")):
        with pytest.raises(BadContract):
            read(odd)
    for minutes in (None, True, "7", float("nan"), float("inf")):
        with pytest.raises(BadContract):
            read_minutes({"minutes_left": minutes})
    assert read_minutes({"minutes_left": -1.5}) == -1.5

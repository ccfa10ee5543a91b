"""Jobs are stored and read again, also by versions with more or fewer attributes."""

import traceback
from dataclasses import replace

import pytest
from builders import make_job, make_result

from stemdrop.domain.job_fields import from_fields, to_fields
from stemdrop.domain.jobs import (
    CANCELLABLE,
    CREDITS,
    FINAL,
    CachedStem,
    Charge,
    Failure,
    Job,
    JobState,
    Mode,
    SourceKind,
    is_overtaken,
)
from stemdrop.domain.results import Result


def full_job() -> Job:
    return make_job(
        language="zh-hans",
        topic_id=12,
        message_id=34,
        state=JobState.FAILED,
        created_at=1.5,
        moved_at=2.5,
        mode=Mode.SPLIT_STEM_ADVANCED,
        instrument="Lead Vocal",
        create_started_at=3.5,
        create_started_by="call",
        answer_lost_at=4.0,
        source_fetched_at=4.25,
        asked_again_by="tap",
        is_asking_again=True,
        is_other_charged=True,
        polled_at=4.5,
        task_id="task-{1}",
        result=make_result(),
        failure=Failure("531", charged=None),
        missing=("Bass", "鼓"),
        refused=("Hand {drums}", "笛"),
        links=(("Drums", "https://a.b/c?d=e&f"),),
        account=-1_001_000_000_001,
        account_day="2026-02-28",
        price=20,
        charge=Charge.RETURNED,
        picked_at=5.5,
        starts_at=5.75,
        shown_at=6.5,
        silent=("FX",),
        cached=(
            CachedStem("vocals", "audio", "file-1", "Blue {x} 鼓"),
            CachedStem("bass", "document", "file-2"),
        ),
        is_cache_lost=True,
    )


@pytest.mark.parametrize("job", [make_job(), make_job(mode=None), full_job()], ids=["new", "no mode", "full"])
def test_a_job_comes_back_as_it_was_stored(job: Job) -> None:
    assert from_fields(to_fields(job)) == job
    # an album's songs are written as they were read, and scripts compare texts: '0' is not '0.0'
    again, stored = to_fields(from_fields(to_fields(job))), to_fields(job)
    assert again | {"result": ""} == stored | {"result": ""}


def test_the_names_of_stored_fields_do_not_change() -> None:
    """Jobs that are in Redis when stemdrop is updated go on."""
    assert set(to_fields(make_job())) == {
        *("id", "chat_id", "user_id", "source_message_id", "source", "language", "topic_id", "message_id"),
        *("stems_above", "replaced_message_id", "starts_at", "facts"),
        *("create_started_by", "answer_lost_at", "source_fetched_at", "asked_again_by", "is_asking_again"),
        *("is_other_charged", "split_id", "waits_for", "paid_by"),
        *("stems_above", "replaced_message_id", "starts_at"),
        *("ordered_by", "cancelled_by", "state", "created_at", "moved_at", "account", "account_day"),
        *("price", "charge", "mode", "instrument", "file_format", "picked_at", "shown_at", "shown_as"),
        *(
            "create_started_at",
            "polled_at",
            "found_empty_at",
            "task_id",
            "result",
            "failure",
            "missing",
            "refused",
        ),
        *("links", "silent", "kept", "is_timed", "is_kept_lost"),
        *("provider", "tried", "refusal", "agreed_price", "is_unlimited", "progress"),
        *("mode_name", "failure_code", "failure_charged", "has_stems", "is_success"),
        *("missing_count", "refused_count"),
    }


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("mode", Mode)
def test_states_and_modes_come_back_as_what_they_are(state: JobState, mode: Mode) -> None:
    job = from_fields(to_fields(make_job(state=state, mode=mode)))
    assert isinstance(job.state, JobState)
    assert isinstance(job.mode, Mode)
    assert isinstance(job.source.kind, SourceKind)


@pytest.mark.parametrize("charged", [True, False, None])
def test_a_charge_may_be_unknown(charged: bool | None) -> None:
    job = make_job(failure=Failure("451", charged))
    assert from_fields(to_fields(job)).failure == Failure("451", charged)


def test_unknown_fields_are_ignored() -> None:
    job = full_job()
    assert from_fields({**to_fields(job), "colour": "blue", "runs:deliver": "3", "retried_as": "x"}) == job


def test_missing_fields_have_defaults() -> None:
    stored = to_fields(full_job())
    added = ("account", "account_day", "price", "charge", "picked_at", "shown_at", "silent", "kept")
    for name in ("missing", "refused", "links", "failure", "result", "polled_at", "is_kept_lost", *added):
        del stored[name]
    job = from_fields(stored)
    assert (job.account, job.account_day, job.price, job.charge) == (job.user_id, "", 0, Charge.NONE)
    assert (job.silent, job.cached, job.is_cache_lost) == ((), (), False)
    assert (job.missing, job.refused, job.links) == ((), (), ())
    assert (job.failure, job.result, job.polled_at) == (None, None, 0)


@pytest.mark.parametrize(
    ("changes", "is_undelivered"),
    [
        ({}, True),
        ({"state": JobState.DELIVERING}, False),
        ({"state": JobState.DELIVERED}, False),
        ({"failure": Failure("500")}, False),
        ({"failure": None}, False),
        ({"result": None}, False),
        ({"result": Result(200)}, False),
        ({"result": Result(200), "failure": Failure("unknown_form")}, True),
    ],
)
def test_only_a_failure_with_stems_at_hand_is_undelivered(
    changes: dict[str, object], is_undelivered: bool
) -> None:
    job = make_job(state=JobState.FAILED, failure=Failure("undeliverable"), result=make_result())
    assert replace(job, **changes).is_undelivered is is_undelivered  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "result", "expected"),
    [
        ("501", make_result(), True),
        ("empty", make_result(), True),
        ("empty", Result(200), False),
        ("undeliverable", make_result(), False),
    ],
)
def test_only_stems_that_came_meanwhile_overtake_a_failure(code: str, result: Result, expected: bool) -> None:
    failed = make_job(state=JobState.FAILED, result=result, failure=Failure(code, charged=True))
    assert is_overtaken(failed) is expected


@pytest.mark.parametrize("title", ["", "{title}", "%s", '"', "\\", "\n", "<b>歌</b>", "🎵"])
def test_users_words_are_stored_unchanged(title: str) -> None:
    job = make_job()
    job = replace(job, source=replace(job.source, title=title, performer=title))
    assert from_fields(to_fields(job)).source.title == title


def test_ids_are_short_and_never_the_same() -> None:
    ids = {Job.new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(job_id) for job_id in ids} == {16}


def test_every_state_is_final_or_active_or_waits() -> None:
    assert {*FINAL, *CANCELLABLE, JobState.DELIVERING} == set(JobState)
    assert not FINAL & CANCELLABLE
    assert set(JobState) - FINAL - CANCELLABLE == {JobState.DELIVERING}
    assert CREDITS.keys() == set(Mode)


@pytest.mark.parametrize(
    ("field", "stored"),
    [
        ("source", '{"kind": "hologram", "file_id": "private", "title": "private"}'),
        ("links", '[["Drums", "https://private", "private"]]'),
        ("state", "private"),
    ],
)
def test_the_error_of_an_unreadable_job_has_no_values(field: str, stored: str) -> None:
    with pytest.raises(ValueError, match=field) as raised:
        from_fields({**to_fields(full_job()), field: stored})
    assert "private" not in "".join(traceback.format_exception(raised.value))
    assert raised.value.__context__ is None

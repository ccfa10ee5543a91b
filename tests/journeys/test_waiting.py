"""The create call's answer or the callback does not come: no job is paid twice or waits for ever."""

from typing import Any

import pytest
from stage import Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"POLL_AFTER_S": "1", "POLL_INTERVAL_S": "1", "JOB_TIMEOUT_S": "10", "DAILY_CREDITS": "20"}
VOCALS, ONE_INSTRUMENT = 0, 2


def ready(stage: Stage) -> dict[str, Any]:
    """What the detail endpoint says of a finished task."""
    response = {"vocalUrl": stage.provider.stem_url("vocal"), "instrumentalUrl": None, "drumsUrl": ""}
    return {"successFlag": "SUCCESS", "response": response}


async def test_a_callback_that_never_comes_is_made_up_for_by_polling(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    alice = stage.person()
    _, menu = await alice.asks(stage.song("Polled"), VOCALS)
    await stage.accepted()
    asked = f"record-info?taskId={stage.provider.task_id()}"
    await until(lambda: sum(asked in request for request in stage.provider.requests) >= 2)
    assert menu.text.startswith("⏳")
    stage.provider.details[stage.provider.task_id()] = ready(stage)
    await alice.shows(menu, "✅")
    assert alice.titles() == ["Polled (Vocals)"]
    assert (await stage.provider.call_back()).status_code == 200
    assert len(stage.provider.creates) == 1


async def test_a_failure_found_by_polling_is_explained(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    alice = stage.person()
    _, menu = await alice.asks(stage.song("Polled Failure"), VOCALS)
    await stage.accepted()
    failed = {"successFlag": "GENERATE_AUDIO_FAILED", "errorCode": 501, "response": None}
    stage.provider.details[stage.provider.task_id()] = failed
    await alice.shows(menu, "⚠️")
    assert "code 501" in menu.text


async def test_a_job_out_of_time_is_explained_and_its_late_stems_still_come(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    alice = stage.person()
    _, menu = await alice.asks(stage.song("Late"), VOCALS)
    await alice.shows(menu, "⚠️ That did not work (code timeout).")
    assert [button["text"] for button in menu.buttons] == ["🔁 Try again · 10 credits"]
    assert alice.audios() == []
    assert (await stage.provider.call_back()).status_code == 200
    await alice.shows(menu, "✅")
    assert "🔁" not in str(menu.buttons)
    assert len(alice.audios()) == 2
    assert len(stage.provider.creates) == 1


async def test_a_job_out_of_time_can_be_tried_again_and_its_first_try_is_then_dropped(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    alice = stage.person()
    _, menu = await alice.asks(stage.song("Second Wind"), VOCALS)
    await alice.shows(menu, "⚠️ That did not work (code timeout).")
    stage.provider.answers_by_itself = True
    await alice.taps(menu, 0)
    await alice.shows(menu, "✅")
    assert (await stage.provider.call_back(0)).status_code == 200
    assert len(alice.audios()) == 2
    assert len(stage.provider.creates) == 2


async def test_a_lost_answer_without_a_callback_is_owned_up_to(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    stage.provider.lose_answer = True
    alice = stage.person()
    _, menu = await alice.asks(stage.song("Lost For Good"), VOCALS)
    await alice.shows(menu, "⚠️ That did not work (code lost).")
    assert "It is not known whether this try was charged." in menu.text
    assert [button["text"] for button in menu.buttons] == ["🔁 Try again · 10 credits"]
    assert len(stage.provider.creates) == 1


async def test_a_lost_answer_and_its_late_result_are_counted_once(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    stage.provider.lose_answer = True
    alice = stage.person()
    _, menu = await alice.asks(stage.song("Lost And Late"), ONE_INSTRUMENT)
    await alice.taps(menu, 0)
    await alice.shows(menu, "⚠️ That did not work (code lost).")
    assert (await alice.taps(menu, 0)).is_alert
    stage.provider.lose_answer = False
    assert (await stage.provider.call_back()).status_code == 200
    await alice.shows(menu, "✅")
    _, other = await alice.asks(stage.song("One More"))
    assert "You have used 20 of your 20" in (await alice.taps(other, VOCALS)).answer_text
    assert len(stage.provider.creates) == 1

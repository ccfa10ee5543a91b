"""A create call without an answer, a job without a callback: no job is paid twice or waits for ever."""

from typing import Any

import pytest
from chat import Person
from deployment import Deployment, until

from sandbox.telegram.chats import Message

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"POLL_AFTER_S": "1", "POLL_INTERVAL_S": "1", "JOB_TIMEOUT_S": "1000", "DAILY_CREDITS": "20"}
VOCALS, ONE_INSTRUMENT = 0, 2


def ready(deployment: Deployment) -> dict[str, Any]:
    """Return the answer of the detail endpoint for a finished task."""
    response = {"vocalUrl": deployment.provider.stem_url("vocal"), "instrumentalUrl": None, "drumsUrl": ""}
    return {"successFlag": "SUCCESS", "response": response}


async def test_a_job_without_a_callback_is_polled(deployment: Deployment) -> None:
    deployment.provider.answers_by_itself = False
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Polled"), VOCALS)
    await deployment.accepted()
    asked = f"record-info?taskId={deployment.provider.task_id()}"
    await until(lambda: sum(asked in request for request in deployment.provider.requests) >= 2)
    assert menu.text.startswith("⏳")
    deployment.provider.details[deployment.provider.task_id()] = ready(deployment)
    menu = await alice.shows(menu, "✅")
    assert alice.titles() == ["Polled (Vocals)"]
    assert (await deployment.provider.call_back()).status_code == 200
    assert len(deployment.provider.creates) == 1


async def test_a_failure_found_by_polling_is_explained(deployment: Deployment) -> None:
    deployment.provider.answers_by_itself = False
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Polled Failure"), VOCALS)
    await deployment.accepted()
    failed = {"successFlag": "GENERATE_AUDIO_FAILED", "errorCode": 501, "response": None}
    deployment.provider.details[deployment.provider.task_id()] = failed
    await alice.shows(menu, "⚠️")
    assert "code 501" in menu.text


async def test_jobs_without_a_result_are_explained_and_late_results_still_count(
    deployment: Deployment,
) -> None:
    provider = deployment.provider
    provider.answers_by_itself = False

    async def asked(title: str, number: int, mode: int = VOCALS) -> tuple[Person, Message]:
        person = deployment.person(title)
        _, menu = await person.asks(deployment.song(title), mode)
        if mode == ONE_INSTRUMENT:
            await person.taps(menu, 0)
        await deployment.accepted(number + 1)
        return person, menu

    late, menu_late = await asked("Late", 0)
    retried, menu_retried = await asked("Tried Again", 1)
    await deployment.tasks_rest()  # both calls are answered
    provider.lose_answer = True
    lost, menu_lost = await asked("Lost For Good", 2)
    found, menu_found = await asked("Lost And Late", 3, ONE_INSTRUMENT)
    for person, menu in ((lost, menu_lost), (found, menu_found)):
        await person.sees(lambda menu=menu: "did not confirm the order" in menu.text)
    await deployment.age_jobs(1001)
    await late.shows(menu_late, "⚠️ That did not work (code timeout).")
    await retried.shows(menu_retried, "⚠️ That did not work (code timeout).")
    await lost.shows(menu_lost, "⚠️ That did not work (code lost).")
    await found.shows(menu_found, "⚠️ That did not work (code lost).")
    provider.lose_answer = False
    assert "It is not known whether this try was charged." in menu_lost.text
    # a try that may have been charged counts
    assert (await found.taps(menu_found, 0)).is_alert
    for menu in (menu_late, menu_retried, menu_lost):
        assert [button["text"] for button in menu.buttons] == ["🔁 Try again · 10 credits"]
    assert late.audios() == []

    # a late result ends in its stems
    for number, person, menu in ((0, late, menu_late), (3, found, menu_found)):
        assert (await provider.call_back(number)).status_code == 200
        end = await person.shows(menu, "✅")
        assert "🔁" not in str(end.buttons)
        assert len(person.audios()) == 2
    assert len(provider.creates) == 4

    # the late result is not counted again
    _, other = await found.asks(deployment.song("One More"))
    assert "You have used 20 of your 20" in (await found.taps(other, VOCALS)).answer_text

    # after another try the late result of the first is kept, and not sent
    provider.answers_by_itself = True
    await retried.taps(menu_retried, 0)
    menu_retried = await retried.shows(menu_retried, "✅")
    assert (await provider.call_back(1)).status_code == 200
    await deployment.tasks_rest()
    assert len(retried.audios()) == 2
    assert len(provider.creates) == 5

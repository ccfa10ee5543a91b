"""Without a public URL the source is uploaded, the job is polled, and no callback is asked for."""

import anyio
import pytest
from stage import Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"PUBLIC_URL": "", "POLL_INTERVAL_S": "1"}
VOCALS, ALL_STEMS = 0, 1


async def test_a_song_is_uploaded_polled_and_delivered(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    alice = stage.person()
    song = stage.song("From Home")
    _, menu = await alice.asks(song, ALL_STEMS)
    await stage.accepted()
    task = stage.provider.task_id()
    await until(lambda: any(f"taskId={task}" in request for request in stage.provider.requests))
    names = ("vocalUrl", "drumsUrl", "fxUrl")
    response = {name: stage.provider.stem_url(name) for name in names} | {"originUrl": "", "bassUrl": None}
    stage.provider.details[task] = {"successFlag": "SUCCESS", "response": response}
    menu = await alice.shows(menu, "✅")
    assert alice.titles() == ["From Home (Vocals)", "From Home (Drums)", "From Home (FX)"]
    assert list(stage.provider.uploads.values()) == [await anyio.Path(song).read_bytes()]
    create = stage.provider.creates[0]
    assert create["audioUrl"].startswith(f"{stage.provider.url}/uploads/")
    assert create["callBackUrl"].split("/")[2].endswith(".invalid")
    assert stage.world.public_url not in str(stage.provider.requests)


async def test_a_lost_answer_fails_the_job_at_once(stage: Stage) -> None:
    stage.provider.answers_by_itself = False
    stage.provider.lose_answer = True
    alice = stage.person()
    _, menu = await alice.asks(stage.song("Lost Here"), VOCALS)
    await alice.shows(menu, "⚠️ That did not work (code lost).")
    assert "It is not known whether this try was charged." in menu.text
    stage.provider.lose_answer = False
    await alice.presses_twice(menu, "Try again")
    await stage.accepted(2)
    response = {"vocalUrl": stage.provider.stem_url("vocal")}
    stage.provider.details[stage.provider.task_id()] = {"successFlag": "SUCCESS", "response": response}
    menu = await alice.shows(menu, "✅")
    assert len(alice.audios()) == 1
    assert len(stage.provider.creates) == 2


async def test_a_refused_upload_is_explained_and_costs_nothing(stage: Stage) -> None:
    stage.provider.upload_refusal = (413, "too large")
    alice = stage.person()
    _, menu = await alice.asks(stage.song("Too Large"), VOCALS)
    await alice.shows(menu, "⚠️ That did not work (code 413).")
    assert "cost nothing" in menu.text
    assert stage.provider.creates == []

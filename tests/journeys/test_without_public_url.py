"""Without a public URL the source is uploaded, the job is polled, and no callback is asked for."""

import anyio
import pytest
from deployment import Deployment, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"PUBLIC_URL": "", "POLL_INTERVAL_S": "1"}
VOCALS, ALL_STEMS = 0, 1


async def test_a_song_is_uploaded_polled_and_delivered(deployment: Deployment) -> None:
    deployment.provider.answers_by_itself = False
    alice = deployment.person()
    song = deployment.song("From Home")
    _, menu = await alice.asks(song, ALL_STEMS)
    await deployment.accepted()
    task = deployment.provider.task_id()
    await until(lambda: any(f"taskId={task}" in request for request in deployment.provider.requests))
    names = ("vocalUrl", "drumsUrl", "fxUrl")
    response = {name: deployment.provider.stem_url(name) for name in names} | {
        "originUrl": "",
        "bassUrl": None,
    }
    deployment.provider.details[task] = {"successFlag": "SUCCESS", "response": response}
    menu = await alice.shows(menu, "✅")
    assert alice.titles() == ["From Home (Vocals)", "From Home (Drums)", "From Home (FX)"]
    assert list(deployment.provider.uploads.values()) == [await anyio.Path(song).read_bytes()]
    create = deployment.provider.creates[0]
    assert create["audioUrl"].startswith(f"{deployment.provider.url}/uploads/")
    assert create["callBackUrl"].split("/")[2].endswith(".invalid")
    assert deployment.environment.public_url not in str(deployment.provider.requests)


async def test_a_lost_answer_fails_the_job_at_once(deployment: Deployment) -> None:
    deployment.provider.answers_by_itself = False
    deployment.provider.lose_answer = True
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Lost Here"), VOCALS)
    await alice.shows(menu, "⚠️ That did not work (code lost).")
    assert "It is not known whether this try was charged." in menu.text
    deployment.provider.lose_answer = False
    await alice.presses_twice(menu, "Try again")
    await deployment.accepted(2)
    response = {"vocalUrl": deployment.provider.stem_url("vocal")}
    deployment.provider.details[deployment.provider.task_id()] = {
        "successFlag": "SUCCESS",
        "response": response,
    }
    menu = await alice.shows(menu, "✅")
    assert len(alice.audios()) == 1
    assert len(deployment.provider.creates) == 2


async def test_a_refused_upload_is_explained_and_costs_nothing(deployment: Deployment) -> None:
    deployment.provider.upload_refusal = (413, "too large")
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Too Large"), VOCALS)
    await alice.shows(menu, "⚠️ That did not work (code 413).")
    assert "cost nothing" in menu.text
    assert deployment.provider.creates == []

"""'Try again' for a job that ran out of time: what has come meanwhile is paid for, and not bought again."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from product import BotRoom, Product, result_of
from provider import Provider

from sandbox.telegram.chats import Message, User
from stemdrop.domain.jobs import Charge, Failure, Job, JobState
from stemdrop.domain.outcomes import Receipt
from stemdrop.domain.results import Result

VOCALS = 0
TASK_ID = "task-1"


@pytest.fixture
def product(provided_product: Product) -> Product:
    return provided_product


@dataclass(frozen=True)
class GivenUp:
    """A job of Alice's of two stems, and the message that says that it ran out of time."""

    job: Job
    message: Message


async def give_up(room: BotRoom, alice: User, song: Path, failure: Failure) -> GivenUp:
    product = room.product
    menu = await room.menu(alice, song)
    await room.taps(menu, VOCALS)
    (job,) = await product.jobs(alice.id)
    await product.store.begin_create(job.id)
    await product.store.accept(job.id, TASK_ID)
    assert await product.store.fail(job.id, [JobState.SEPARATING], failure)
    await product.status.show_current(job.id)
    await product.ordered()
    return GivenUp(await product.job(job.id), menu)


@pytest.fixture
async def given_up(room: BotRoom, alice: User, song: Path) -> GivenUp:
    return await give_up(room, alice, song, Failure("timeout", charged=True))


def detail(flag: str, **more: Any) -> dict[str, Any]:
    return {"taskId": TASK_ID, "successFlag": flag, "response": None, **more}


def success(provider: Provider) -> dict[str, Any]:
    urls = {"vocalUrl": provider.stem_url("vocal"), "instrumentalUrl": provider.stem_url("instrumental")}
    return detail("SUCCESS", response=urls)


def polls(provider: Provider) -> int:
    return sum("record-info" in request for request in provider.requests)


async def spent(product: Product, user: User) -> int:
    return (await product.store.allowance(user.id, 0)).spent


async def test_a_late_result_is_delivered_and_not_bought_again(
    room: BotRoom, provider: Provider, alice: User, given_up: GivenUp
) -> None:
    product = room.product
    provider.details[TASK_ID] = success(provider)
    tapped = await room.presses(given_up.message, "Try again")
    assert (
        tapped.answer_text == "The result has come after all: it is on its way, and nothing more is charged."
    )
    (job,) = await product.jobs(alice.id)
    assert (job.state, job.charge, job.failure) == (JobState.DELIVERING, Charge.SETTLED, None)
    assert await product.ordered() == [("deliver", given_up.job.id)]
    assert await spent(product, alice) == 10
    (shown,) = room.telegram.bot_messages(alice.id)
    assert "Sending" in shown.text
    await room.again(tapped)  # the second of two impatient taps
    assert [found.id for found in await product.jobs(alice.id)] == [job.id]


async def test_a_job_without_a_late_result_is_retried(
    room: BotRoom, provider: Provider, alice: User, given_up: GivenUp
) -> None:
    product = room.product
    tapped = await room.presses(given_up.message, "Try again")
    assert polls(provider) == 1
    assert tapped.answer_text == "A new try is on its way."
    new, old = await product.jobs(alice.id)
    assert (old.state, new.state) == (JobState.FAILED, JobState.SUBMITTING)
    assert await product.ordered() == [("submit", new.id)]
    assert await spent(product, alice) == 20


async def test_a_late_failure_returns_its_credits_and_the_job_is_retried(
    room: BotRoom, provider: Provider, alice: User, given_up: GivenUp
) -> None:
    provider.details[TASK_ID] = detail(
        "GENERATE_AUDIO_FAILED", errorCode=531, errorMessage="it failed, refunded"
    )
    await room.presses(given_up.message, "Try again")
    new, old = await room.product.jobs(alice.id)
    assert (old.state, new.state) == (JobState.FAILED, JobState.SUBMITTING)
    assert (old.charge, new.charge) == (Charge.RETURNED, Charge.HELD)
    assert await spent(room.product, alice) == 10


async def test_an_api_that_does_not_answer_does_not_delay_the_retry(
    room: BotRoom, alice: User, given_up: GivenUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(room.product.providers.asked[0], "_api_url", address)
        monkeypatch.setattr("stemdrop.services.orders.POLL_WAIT_S", 0.1)
        await room.presses(given_up.message, "Try again")
    new, _ = await room.product.jobs(alice.id)
    assert await room.product.ordered() == [("submit", new.id)]


async def test_a_job_whose_task_has_ended_is_not_asked_for(
    room: BotRoom, provider: Provider, alice: User, song: Path
) -> None:
    given_up = await give_up(room, alice, song, Failure("501", charged=True))
    await room.presses(given_up.message, "Try again")
    assert polls(provider) == 0
    assert len(await room.product.jobs(alice.id)) == 2


async def late_result(product: Product, job: Job) -> None:
    stems = result_of({name: f"https://files.example/{name}.mp3" for name in ("vocals", "instrumental")})
    for _ in range(2):  # a callback may come twice
        receipt = await product.store.receive(job.id, job.chat_id, TASK_ID, stems, adds_delivery=True)
        assert receipt is Receipt.REPEATED
    assert (await product.job(job.id)).state is JobState.FAILED


@pytest.mark.parametrize("tries", [1, 2])
async def test_a_result_that_comes_before_the_call_of_the_next_try_saves_that_call(
    room: BotRoom, provider: Provider, alice: User, mei: User, song: Path, given_up: GivenUp, tries: int
) -> None:
    product = room.product
    await room.presses(given_up.message, "Try again")
    if tries == 2:  # the first of them runs out of time, too
        second, _ = await product.jobs(alice.id)
        await product.store.begin_create(second.id)
        await product.store.accept(second.id, "task-2")
        await product.store.fail(second.id, [JobState.SEPARATING], Failure("timeout", charged=True))
        await product.status.show_current(second.id)
        await room.presses(given_up.message, "Try again")
    last = (await product.jobs(alice.id))[0]
    assert (last.state, await spent(product, alice)) == (JobState.SUBMITTING, 10 * tries + 10)
    await room.taps(await room.menu(mei, song), VOCALS)
    (waiting,) = await product.jobs(mei.id)
    assert (waiting.state, waiting.waits_for) == (JobState.QUEUED, last.id)
    await product.ordered()
    await late_result(product, given_up.job)
    for job in (last, waiting):
        now = await product.job(job.id)
        assert (now.state, now.paid_by, now.charge) == (JobState.DELIVERING, given_up.job.id, Charge.RETURNED)
    assert (await spent(product, alice), await spent(product, mei)) == (10 * tries, 0)
    await product.submission().run(last.id)
    assert provider.creates == []
    await product.recovery().run()
    assert sorted(await product.ordered()) == sorted(("deliver", job.id) for job in (last, waiting))


async def test_a_result_that_comes_after_the_call_of_the_next_try_is_kept(
    room: BotRoom, provider: Provider, alice: User, mei: User, song: Path, given_up: GivenUp
) -> None:
    product = room.product
    await room.presses(given_up.message, "Try again")
    new, _ = await product.jobs(alice.id)
    await product.store.begin_create(new.id)
    await product.store.accept(new.id, "task-2")
    await late_result(product, given_up.job)
    assert (await product.job(new.id)).state is JobState.SEPARATING
    # the same song costs nothing, for its user too if the new try fails
    await room.taps(await room.menu(mei, song), VOCALS)
    (shared,) = await product.jobs(mei.id)
    await product.store.receive(new.id, new.chat_id, "task-2", Result(500))
    await product.delivery().run(new.id)
    await room.presses(given_up.message, "Try again")
    last = (await product.jobs(alice.id))[0]
    for job in (shared, last):
        assert (job.state, job.paid_by) == (JobState.DELIVERING, given_up.job.id)
    assert (await spent(product, alice), await spent(product, mei)) == (20, 0)

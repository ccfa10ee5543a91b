"""Polls that come together are one request, and no answer is used twice."""

import asyncio
from collections.abc import Sequence

import pytest

from stemdrop.errors import AnswerLost, BadContract
from stemdrop.provider.lalal.checks import FRESH_S, LATELY_S, MOST_TASKS, Checks


class Asked:
    """Counts the requests, and answers each task with the number of its request."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.requests: list[set[str]] = []
        self.is_lost = False
        self.checks = Checks(self, lambda: self.now)

    async def __call__(self, task_ids: Sequence[str]) -> dict[str, object]:
        self.requests.append(set(task_ids))
        if self.is_lost:
            raise AnswerLost("no answer")
        return {task_id: len(self.requests) for task_id in task_ids if task_id != "unknown"}

    async def poll(self, *task_ids: str) -> list[object]:
        return list(await asyncio.gather(*map(self.checks.entry, task_ids), return_exceptions=True))


async def test_polls_of_one_moment_are_one_request() -> None:
    asked = Asked()
    assert await asked.poll("a", "b", "a") == [1, 1, 1]
    assert asked.requests == [{"a", "b"}]
    numbers = [str(number) for number in range(MOST_TASKS + 1)]
    await asked.poll(*numbers)
    assert [len(request) for request in asked.requests[1:]] == [MOST_TASKS, min(MOST_TASKS, len(numbers) + 2)]


async def test_a_poll_asks_for_the_others_of_the_last_minute_too() -> None:
    asked = Asked()
    await asked.poll("a", "b")
    asked.now += LATELY_S - 1
    assert await asked.poll("a") == [2]
    assert await asked.poll("b") == [2]  # the answer is there already
    assert await asked.poll("b") == [3]  # and serves once
    await asked.poll("a")
    asked.now += FRESH_S
    assert await asked.poll("a") == [4]  # that of the third request is too old
    asked.now += LATELY_S
    await asked.poll("c")
    assert asked.requests == [{"a", "b"}, {"a", "b"}, {"a", "b"}, {"a", "b"}, {"c"}]


async def test_a_failure_is_that_of_all_who_ask() -> None:
    asked = Asked()
    asked.is_lost = True
    assert {type(error) for error in await asked.poll("a", "b")} == {AnswerLost}
    asked.is_lost = False
    assert await asked.poll("a") == [2]
    with pytest.raises(BadContract, match="does not name"):
        await asked.checks.entry("unknown")


async def test_who_gives_up_takes_no_answer_from_the_others() -> None:
    asked = Asked()
    gives_up, stays = (asyncio.create_task(asked.checks.entry(task_id)) for task_id in "ab")
    await asyncio.sleep(0)
    gives_up.cancel()
    assert await stays == 1

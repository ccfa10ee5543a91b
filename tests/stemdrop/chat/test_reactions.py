"""The bot reacts to songs in private chats, and never at the cost of anything else."""

from dataclasses import replace
from typing import Any

import pytest
from builders import Clock, make_job
from telegram.ext import ExtBot

from sandbox.telegram.bot_api.methods import METHODS
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.reactions import DONE, TAKEN, Reactions
from stemdrop.domain.jobs import Job, JobState


@pytest.fixture
def alice(telegram: Telegram) -> User:
    return telegram.add_user("Alice")


@pytest.fixture
def song(telegram: Telegram, alice: User) -> Message:
    return telegram.send_text(alice.id, "the song")


@pytest.fixture
def reactions(bot: ExtBot[float], clock: Clock) -> Reactions:
    return Reactions(bot, clock)


def job_of(song: Message, state: JobState, **changes: Any) -> Job:
    job = replace(make_job(state=state), chat_id=song.chat.id, source_message_id=song.message_id)
    return replace(job, message_id=7, **changes)


async def react(reactions: Reactions, job: Job) -> None:
    reactions.show(job)
    for task in [*reactions._tasks]:
        await task


def calls(telegram: Telegram) -> int:
    return sum(call.method == "setMessageReaction" for call in telegram.calls)


async def test_a_song_shows_that_it_was_taken_and_that_its_stems_are_there(
    reactions: Reactions, song: Message
) -> None:
    shown = []
    for job in (
        replace(job_of(song, JobState.CHOOSING), message_id=0),
        job_of(song, JobState.SEPARATING),
        job_of(song, JobState.DELIVERED),
        job_of(song, JobState.FAILED),
    ):
        await react(reactions, job)
        shown.append(song.reaction)
    assert shown == [TAKEN, TAKEN, DONE, ""]


async def test_groups_get_no_reactions(reactions: Reactions, telegram: Telegram, alice: User) -> None:
    there = telegram.send_text(telegram.add_group("Band", [alice]).id, "the song", user_id=alice.id)
    await react(reactions, job_of(there, JobState.DELIVERED))
    assert calls(telegram) == 0


async def test_a_server_without_reactions_is_not_asked_again(
    reactions: Reactions, telegram: Telegram, song: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(METHODS, "setMessageReaction")
    for _ in range(3):
        await react(reactions, job_of(song, JobState.DELIVERED))
    assert (calls(telegram), reactions.is_refused) == (1, True)


async def test_a_flood_limit_is_obeyed_without_waiting(
    reactions: Reactions, telegram: Telegram, song: Message, clock: Clock
) -> None:
    telegram.faults.add(FaultKind.TOO_MANY_REQUESTS, method="setMessageReaction", retry_after_s=3600)
    for _ in range(3):
        await react(reactions, job_of(song, JobState.DELIVERED))
    assert calls(telegram) == 1
    clock.now += 3601
    await react(reactions, job_of(song, JobState.DELIVERED))
    assert (calls(telegram), song.reaction) == (2, DONE)


@pytest.mark.parametrize("kind", [FaultKind.SERVER_ERROR, FaultKind.BLOCKED, FaultKind.RESET_BEFORE])
async def test_other_errors_are_passed_over(
    reactions: Reactions, telegram: Telegram, song: Message, kind: FaultKind
) -> None:
    telegram.faults.add(kind, method="setMessageReaction")
    await react(reactions, job_of(song, JobState.DELIVERED))
    await react(reactions, job_of(song, JobState.DELIVERED))
    assert song.reaction == DONE

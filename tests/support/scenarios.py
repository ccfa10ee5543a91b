"""Stories that together pass every external call and every step of a job.

A process is killed at each of these points (`kill_points.py`); the story goes on when the product is back.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial

from deployment import TWO_PROVIDERS
from ledger import ALL_STEMS, VOCALS, Ledger, Play
from provider import REFUNDED
from starlette.responses import Response

from sandbox.telegram.entities import text_fields
from sandbox.telegram.faults import FaultKind
from stemdrop.chat.translations import load_translations
from stemdrop.services.remixing import QUICK_TAPS_S

SAY = load_translations().language("en")
WITHOUT_VOCALS = SAY("remix.without", stems="vocals").capitalize()
# No server listens at the port for discarded bytes.
NOWHERE = "http://127.0.0.1:9"
RETRY = SAY("button.retry", price="").strip()


@dataclass(frozen=True)
class Scenario:
    """One story. `play` is what people do, `orders` how often they order something that costs.

    `text` is its name in the table, and `settings` are those of the product's processes. With `is_fail_over`
    the processes are killed at every step of the create calls.
    """

    text: str
    play: Callable[[Ledger], Coroutine[object, object, None]]
    orders: int
    settings: Mapping[str, str] = field(default_factory=dict)
    is_fail_over: bool = False


async def _songs(ledger: Ledger) -> None:
    """Play songs of two and of twelve stems and, in an album, one whose stems Telegram keeps already."""
    first, _ = await asyncio.gather(ledger.play(VOCALS, title="First"), ledger.play(ALL_STEMS))
    await ledger.over([first])
    await ledger.play(VOCALS, title="First", album="1")


async def _packed(ledger: Ledger) -> None:
    """Play a song that is uploaded and polled, then order it as one ZIP and as voice messages."""
    ledger.deployment.provider.answers_by_itself = False
    play = await ledger.play(VOCALS)
    await ledger.over()
    if play.is_done:
        for label, packs in (("button.zip", 1), ("button.small", play.stems)):
            play.packs += packs
            await ledger.press(play, SAY(label), lambda: play.packed >= play.packs)


async def _trouble(ledger: Ledger) -> None:
    """Play a song that is refused, fails, is cancelled and resumed, and one whose stem is fetched later."""
    provider = ledger.deployment.provider
    provider.refusal = (500, "no")
    play = await ledger.play(VOCALS, stems=0)
    await ledger.over()
    provider.refusal, provider.failure = None, 500
    await ledger.press(play, RETRY, lambda: len(provider.creates) == 1)
    # the message of the refused try may still stand
    await play.person.sees(lambda: play.is_over and "cost nothing" not in play.texts[-1].text)
    await ledger.deployment.tasks_rest()
    provider.failure, provider.answers_by_itself, provider.remembers = None, False, False
    await ledger.press(play, RETRY, lambda: len(provider.creates) == 2)
    await ledger.press(play, SAY("button.cancel"), lambda: play.is_cancelled)
    await ledger.press(play, SAY("button.resume"), lambda: not play.is_cancelled)
    await ledger.press(play, SAY("button.cancel"), lambda: play.is_cancelled)
    provider.answers_by_itself = provider.remembers = True
    provider.odd_stems["vocal"] = lambda: Response(status_code=404)
    late = await ledger.play(VOCALS)
    await late.person.sees(lambda: late.is_over)
    provider.odd_stems.clear()
    await ledger.press(late, SAY("button.fetch_again"), lambda: len(late.titles) == late.stems)


async def _group(ledger: Ledger) -> None:
    """Let an anonymous admin ask for stems in a group, which becomes a supergroup before they come."""
    deployment, telegram, person = ledger.deployment, ledger.deployment.telegram, ledger.person()
    group = telegram.add_group("A band", [telegram.user(person.id)])
    person.chat_id = group.id
    play = Play(person, "Song of a band", VOCALS, 2, is_alone=True)
    ledger.plays.append(play)
    song = await person.sends(deployment.song(play.title))
    content = {**text_fields("text", "/stems"), "sender_chat": group.to_dict()}
    telegram.post(group, telegram.user(person.id), content, reply_to=song)
    await person.sees(lambda: play.texts)
    # nor may polling find the result before
    deployment.provider.answers_by_itself = deployment.provider.remembers = False
    await ledger.pick(play)
    await deployment.accepted()
    await deployment.tasks_rest()
    person.chat_id = telegram.migrate_group(group.id).id
    deployment.provider.answers_by_itself = deployment.provider.remembers = True
    await deployment.provider.post_patiently(deployment.provider.creates[0])


async def _deleted(ledger: Ledger) -> None:
    """Pay again for kept stems that Telegram has lost; then delete everything about a person."""
    first = await ledger.play(VOCALS, title="First")
    await ledger.over()
    for message in first.shown:
        if message.kind == "audio" and message.media:
            ledger.deployment.telegram.forget_file(message.media["file_id"])
    again = await ledger.play(VOCALS, title="First")
    asked = SAY("kept_lost", title="First")

    def is_asked() -> bool:
        return any(message.text == asked for message in again.texts)

    # a tap that is handled again after a kill takes what the first job's links still give, at no cost
    await again.person.sees(lambda: is_asked() or any(message.kind == "audio" for message in again.shown))
    if is_asked():
        await ledger.press(again, SAY("mode_name.separate_vocal"), lambda: again.texts[-1].text != asked)
    await ledger.over()
    menu = await again.person.answer_to(again.person.says("/delete"))
    await again.person.taps(menu, 0)
    await again.person.sees(lambda: not menu.buttons)
    async with ledger.deployment.store() as store:
        assert await store.jobs_of(again.person.id) == []


async def _late(ledger: Ledger) -> None:
    """Play a song that is given up for want of an answer, which comes after all."""
    provider = ledger.deployment.provider
    provider.answers_by_itself = provider.remembers = False
    play = await ledger.play(VOCALS)
    await ledger.over()
    provider.remembers = True
    await play.person.sees(lambda: play.is_done)


async def _lost(ledger: Ledger) -> None:
    """Lose the answer to a create call that came to nothing; the user lets the service be asked again."""
    provider = ledger.deployment.provider
    provider.loses_creates = True
    play = await ledger.play(VOCALS)
    lost = SAY("lost", title=play.title)
    await play.person.sees(lambda: any(message.text.startswith(lost) for message in play.texts))
    provider.loses_creates = False
    await ledger.deployment.age_lost_answers()
    await ledger.press(play, SAY("button.ask_again", price="").strip(), lambda: provider.creates)
    await ledger.over()


async def _by_itself(ledger: Ledger) -> None:
    """Let captions start two songs, one of them after an edit; a third is undone, and then picked."""
    undone = await ledger.send(VOCALS, caption="vocals")
    await ledger.press(undone, SAY("button.undo"), lambda: len(undone.texts[-1].buttons) > 2)
    started = await ledger.send(ALL_STEMS, caption="all stems")
    edited = await ledger.send(VOCALS)
    assert edited.song
    ledger.deployment.telegram.edit_text(edited.person.chat_id, edited.song.message_id, "vocals")
    await ledger.over([started, edited])
    assert SAY("choose", title=undone.title) == undone.texts[-1].text
    await ledger.pick(undone)


async def _remixed(ledger: Ledger) -> None:
    """Order remixes that are new, cached, lost and cancelled, a picture, and practice packs in both ways."""
    telegram = ledger.deployment.telegram
    plays = [await with_desk(ledger) for _ in range(3)]
    quiet = SAY("preset.quiet_vocals")
    for play in plays:  # the second comes from the cache, the third no longer does
        await order_remix(ledger, play, WITHOUT_VOCALS, songs=1)
        if play is plays[1]:
            remix = [message for message in plays[0].shown if message.kind == "audio"][-1]
            assert remix.media
            telegram.forget_file(remix.media["file_id"])
    first, as_it_is = plays[0], SAY("desk.as_it_is")
    # a bot that was killed amid the tap shows the preset when the tap is handled again
    await first.person.sees(lambda: not _says(first, as_it_is))
    await ledger.press(first, SAY("button.reset"), lambda: _says(first, as_it_is))
    picture = SAY("button.picture")
    await ledger.press(first, picture, lambda: any(message.kind == "photo" for message in first.shown))
    for kind, songs, zips in (("button.zip", 0, 1), ("button.zip", 0, 1), ("button.as_songs", 4, 0)):
        await ledger.press(first, SAY("button.practice"), lambda: _has(first, SAY("button.as_songs")))
        await order_remix(ledger, first, SAY(kind), songs=songs, zips=zips)
        await asyncio.sleep(QUICK_TAPS_S)
        await ledger.press(first, SAY("button.back"), lambda: _has(first, WITHOUT_VOCALS))
    telegram.faults.add(FaultKind.SLOW, method="download", bytes_per_s=1)
    songs, making = len(first.titles), SAY("remix.quiet", stems="vocals")
    making = SAY("remix.making", title=f"First ({making})")
    await ledger.press(first, quiet, lambda: _says(first, making) or len(first.titles) > songs)
    # a worker that was killed meanwhile is not slow any more
    await ledger.press(first, SAY("button.cancel"), lambda: first.is_cancelled or len(first.titles) > songs)
    first.stems = max(first.stems, len(first.titles))
    for play in plays:
        await ledger.press(play, SAY("button.close"), partial(_is_closed, play))


async def with_desk(ledger: Ledger, title: str = "First") -> Play:
    """Play a song until it is split, and open the desk below it."""
    play = await ledger.play(VOCALS, title=title)
    await ledger.over([play])
    label = SAY("button.remix")
    await ledger.press(play, label, lambda: _has(play, SAY("button.practice")))
    return play


async def order_remix(ledger: Ledger, play: Play, label: str, *, songs: int = 0, zips: int = 0) -> None:
    """Tap a button of a desk until what it orders is in the chat."""
    play.stems += songs
    play.packs += zips
    await ledger.press(play, label, lambda: len(play.titles) >= play.stems and play.packed >= play.packs)


def _says(play: Play, text: str) -> bool:
    return any(text in message.text for message in play.texts)


def _is_closed(play: Play) -> bool:
    return not _has(play, WITHOUT_VOCALS)


def _has(play: Play, label: str) -> bool:
    """Return whether a button with this label can be tapped."""
    return any(label in button["text"] for message in play.texts for button in message.buttons)


async def _no_credits(ledger: Ledger) -> None:
    """Play a song that the first provider refuses for want of credits."""
    ledger.deployment.provider.refusal = (402, "no credits")
    await ledger.play(VOCALS)
    await ledger.over()


async def _elsewhere(ledger: Ledger) -> None:
    """Play a song that may come from either provider."""
    await ledger.play(VOCALS)
    await ledger.over()


async def _refunded(ledger: Ledger) -> None:
    """Play a song that the first provider accepts, but fails to split and refunds."""
    ledger.deployment.provider.failure = REFUNDED
    await ledger.play(VOCALS)
    await ledger.over()


SCENARIOS = {
    "songs": Scenario("songs of two and twelve stems, and kept ones", _songs, 3),
    "packed": Scenario(
        "without a public URL; one ZIP, voice messages",
        _packed,
        1,
        {"PUBLIC_URL": "", "POLL_INTERVAL_S": "1", "JOB_TIMEOUT_S": "20"},
    ),
    "trouble": Scenario(
        "refused, failed, tried again, cancelled; a stem fetched later", _trouble, 3, {"JOB_TIMEOUT_S": "60"}
    ),
    "group": Scenario(
        "a group becomes a supergroup, updates by webhook", _group, 1, {"TELEGRAM_UPDATES": "webhook"}
    ),
    "late": Scenario("a task that ran out of time, and ends after all", _late, 1, {"JOB_TIMEOUT_S": "5"}),
    "lost": Scenario(
        "a lost create answer, asked again", _lost, 1, {"POLL_AFTER_S": "5", "JOB_TIMEOUT_S": "600"}
    ),
    "by itself": Scenario("songs that start without a tap, one is undone", _by_itself, 3),
    "remixed": Scenario("remixes, cached and cancelled ones, practice packs", _remixed, 1),
    "deleted": Scenario("kept stems lost and paid for again, `/delete`", _deleted, 2),
    "no credits": Scenario(
        "the first of two providers has no credits", _no_credits, 1, TWO_PROVIDERS, is_fail_over=True
    ),
    "away": Scenario(
        "the first of two providers is unreachable",
        _elsewhere,
        1,
        {**TWO_PROVIDERS, "SEPARATION_API_URL": NOWHERE},
        is_fail_over=True,
    ),
    "refunded": Scenario(
        "the first of two providers accepts, fails and charges nothing",
        _refunded,
        1,
        TWO_PROVIDERS,
        is_fail_over=True,
    ),
}

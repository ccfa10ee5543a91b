"""A song's whole way, with the product as one process against servers that speak the two contracts."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from decoding import decode
from deployment import Deployment, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS, ALL_STEMS, ONE_INSTRUMENT = 0, 1, 2
# As they come, by the order of the provider's documentation.
ENGLISH = (
    *("Vocals", "Backing vocals", "Drums", "Bass", "Guitar", "Keyboard"),
    *("Percussion", "Strings", "Synth", "FX", "Brass", "Woodwinds"),
)
CHINESE = (
    *("人声", "和声", "鼓", "贝斯", "吉他", "键盘"),
    *("打击乐", "弦乐", "合成器", "音效", "铜管", "木管"),
)


async def test_vocals_and_instrumental_come_as_one_album_in_reply(deployment: Deployment, song: Path) -> None:
    alice = deployment.person()
    sent = await alice.sends(song)
    menu = await alice.answer_to(sent)
    assert menu.reply_to is sent
    assert [button["text"] for button in menu.buttons] == [
        "🎤 Vocals + instrumental · 10 credits",
        "🎛 All stems · 50 credits",
        "🎸 One instrument… · 20 credits",
        "✖️ Cancel",
    ]
    await alice.taps(menu, VOCALS)
    menu = await alice.shows(menu, "✅")
    assert [button["text"] for button in menu.buttons] == [
        "🎛 All stems · 50 credits",
        "🎸 One instrument… · 20 credits",
        "🎚 Remix · free",
        "🎛 Mixer",
        "📦 One ZIP",
        "🎙 As voice messages",
    ]
    assert alice.titles() == ["Morning Line (Vocals)", "Morning Line (Instrumental)"]
    for audio in alice.audios():
        assert audio.reply_to is sent
        assert audio.media_group_id == alice.audios()[0].media_group_id
        assert audio.media
        assert audio.media["duration"] == 1  # its own, not the song's
        arrived = deployment.telegram.file_location(audio.media["file_id"])
        assert np.array_equal(decode(arrived), decode(deployment.provider.stem))
    assert deployment.provider.sources == [await anyio.Path(song).read_bytes()]
    assert [create["type"] for create in deployment.provider.creates] == ["separate_vocal"]


async def test_every_stem_comes_named_in_the_users_language_and_a_new_one_readably(
    deployment: Deployment,
) -> None:
    def with_a_new_one(create: dict[str, Any]) -> dict[str, Any]:
        return {**known(create), "hand_drums_url": deployment.provider.stem_url("hand drums")}

    known, deployment.provider.info = deployment.provider.info, with_a_new_one
    alice, bai = deployment.person("Alice"), deployment.person("白", language="zh-hans")
    songs = [deployment.song("Thirteen"), deployment.song("十三")]
    (_, menu), (_, menu_bai) = await asyncio.gather(
        alice.asks(songs[0], ALL_STEMS), bai.asks(songs[1], ALL_STEMS)
    )
    menu = await alice.shows(menu, "✅ “Thirteen”: 13 stems are here.")
    menu_bai = await bai.shows(menu_bai, "✅《十三》：13 条音轨已送达。")
    assert alice.titles() == [f"Thirteen ({name})" for name in (*ENGLISH, "Hand drums")]
    assert bai.titles() == [f"十三 ({name})" for name in (*CHINESE, "Hand drums")]
    albums = [audio.media_group_id for audio in alice.audios()]
    assert [albums.count(album) for album in dict.fromkeys(albums)] == [7, 6]


async def test_one_instrument_is_chosen_from_a_list_and_comes_with_the_rest(deployment: Deployment) -> None:
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Piano Man"), ONE_INSTRUMENT)
    labels = [button["text"] for button in menu.buttons]
    assert labels[:3] == ["Lead vocal", "Backing vocals", "Drums"]
    assert labels[-2:] == ["↩️ Back", "✖️ Cancel"]
    await alice.press_and_wait(menu, labels.index("↩️ Back"))
    assert menu.buttons[ALL_STEMS]["text"].startswith("🎛")
    await alice.press_and_wait(menu, ONE_INSTRUMENT)
    await alice.taps(menu, labels.index("Piano"))
    menu = await alice.shows(menu, "✅")
    assert alice.titles() == ["Piano Man (Piano)", "Piano Man (Without Piano)"]
    assert [create["stemName"] for create in deployment.provider.creates] == ["Piano"]
    assert sorted(deployment.provider.stem_requests) == ["extract", "remove"]


@pytest.mark.parametrize("code", [500, 531])
async def test_a_failure_is_one_message_with_its_code(deployment: Deployment, code: int) -> None:
    deployment.provider.failure = code
    alice = deployment.person()
    sent, menu = await alice.asks(deployment.song(f"Failure {code}"), VOCALS)
    await alice.shows(menu, "⚠️")
    assert f"code {code}" in menu.text
    assert ("cost nothing" in menu.text) == (code == 531)
    assert alice.after(sent) == [menu]


@pytest.mark.parametrize(("code", "can_help"), [(413, False), (500, True)])
async def test_a_refused_create_is_explained_and_tried_again_once(
    deployment: Deployment, code: int, can_help: bool
) -> None:
    deployment.provider.refusal = (code, "no")
    alice = deployment.person()
    sent, menu = await alice.asks(deployment.song(f"Refused {code}"), VOCALS)
    await alice.shows(menu, "⚠️")
    assert f"code {code}" in menu.text
    assert "cost nothing" in menu.text
    retry = [button for button in menu.buttons if button["text"] == "🔁 Try again · 10 credits"]
    assert bool(retry) == can_help
    assert deployment.provider.creates == []
    if can_help:
        deployment.provider.refusal = None
        await asyncio.gather(*(alice.taps(menu, 0) for _ in range(3)))
        menu = await alice.shows(menu, "✅")
        assert len(deployment.provider.creates) == 1
        assert len(alice.audios()) == 2
    assert [shown for shown in alice.after(sent) if shown.kind == "text"] == [menu]


async def test_a_callback_may_come_before_the_create_call_is_answered(deployment: Deployment) -> None:
    deployment.provider.early_callback = True
    deployment.provider.hold_answer.clear()
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Too Early"), VOCALS)
    menu = await alice.shows(menu, "✅")
    assert len(alice.audios()) == 2
    deployment.provider.hold_answer.set()
    await until(lambda: f" as task {deployment.provider.task_id()}" in deployment.environment.logs())
    assert menu.text.startswith("✅")
    assert len(deployment.provider.creates) == 1


async def test_a_hundred_copies_of_a_callback_at_once_deliver_once(deployment: Deployment) -> None:
    deployment.provider.answers_by_itself = False
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Hundredfold"), VOCALS)
    await deployment.accepted()
    answers = await asyncio.gather(*(deployment.provider.call_back() for _ in range(100)))
    menu = await alice.shows(menu, "✅")
    again = await deployment.provider.call_back()
    for answer in [*answers, again]:
        assert (answer.status_code, answer.json()) == (200, {"status": "received"})
    bob = deployment.person("Bob")
    deployment.provider.answers_by_itself = True
    _, menu = await bob.asks(deployment.song("Afterwards"), VOCALS)
    menu = await bob.shows(menu, "✅")
    assert len(alice.audios()) == 2
    assert sorted(deployment.provider.stem_requests) == ["instrumental", "instrumental", "vocal", "vocal"]


async def test_a_callback_is_answered_while_its_stems_have_yet_to_be_fetched(deployment: Deployment) -> None:
    deployment.provider.hold_stems.clear()
    deployment.provider.answers_by_itself = False
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Patience"), VOCALS)
    await deployment.accepted()
    answer = await deployment.provider.call_back()
    assert (answer.status_code, answer.json()) == (200, {"status": "received"})
    await alice.shows(menu, "📤")
    await until(lambda: len(deployment.provider.stem_requests) == 2)
    assert deployment.provider.stems_served == []
    assert alice.audios() == []
    deployment.provider.hold_stems.set()
    menu = await alice.shows(menu, "✅")
    assert len(alice.audios()) == 2


async def test_a_stem_that_cannot_be_fetched_is_named_and_fetched_again_for_nothing(
    deployment: Deployment,
) -> None:
    deployment.provider.broken_stems = {"instrumental": 404}
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Half"), VOCALS)
    menu = await alice.shows(menu, "✅ “Half”: 1 stem is here.\nCould not be fetched: Instrumental.")
    deployment.provider.broken_stems = {}
    await alice.taps(menu, 0)
    menu = await alice.shows(menu, "✅ “Half”: 2 stems are here.")
    assert alice.titles() == ["Half (Vocals)", "Half (Instrumental)"]
    assert len(deployment.provider.creates) == 1


# Each name with what the titles of its stems contain.
NAMES = {
    "🎸🔥" * 60 + ".mp3": "🎸🔥🎸🔥",
    "a_file_without_tags.mp3": "a file without tags",
    "..//..\\etc\\pass:wd?.mp3": "pass:wd?",
}


async def test_unusual_file_names_reach_the_stems(deployment: Deployment) -> None:
    async def split(file_name: str, titled: str, seconds: float) -> None:
        alice = deployment.person()
        with deployment.song("", seconds).open("rb") as song:
            sent = await deployment.telegram.send_file(alice.id, song, file_name=file_name)
        menu = await alice.answer_to(sent)
        await alice.taps(menu, VOCALS)
        menu = await alice.shows(menu, "✅")
        titles = alice.titles()
        assert [title.rpartition(" ")[2] for title in titles] == ["(Vocals)", "(Instrumental)"]
        assert all(len(title) <= 120 and titled in title for title in titles)
        names = [str(audio.media["file_name"]) for audio in alice.audios() if audio.media]
        assert all(name.endswith(".mp3") and not set(name) & set("/\\:?") for name in names)

    # each a song of its own, because the stems of one that was split before keep their names
    await asyncio.gather(
        *(split(name, titled, 1.1 + 0.1 * number) for number, (name, titled) in enumerate(NAMES.items()))
    )

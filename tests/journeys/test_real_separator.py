"""Real songs through the whole product with the self-hosted separator: each kind of file is split."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest
import pytest_asyncio
from chat import Person
from kinds import KINDS, record
from process_pool import ForkedProcess
from tones import beginning_with_tags

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.play.duration import measure

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS, ALL_STEMS = 0, 1
SECONDS = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalEnvironment]:
    folder = tmp_path_factory.mktemp("environment")
    async with LocalEnvironment(folder / "environment", process=ForkedProcess) as running:
        await running.start("up")
        yield running
        assert running.telegram.unanswered_queries == []
        assert running.telegram.flood_refusals == 0
        logs = running.logs()
        assert "separator ready" in logs
        assert " ERROR " not in logs
        assert "Traceback" not in logs
        # no secrets: the key, and the links to sources, callbacks and results
        assert running.variables()["SEPARATION_API_KEY"] not in logs
        assert not re.search(r"/(source|callback|files|uploads)/[\w.-]{30}", logs, re.ASCII)


def stem_seconds(person: Person) -> list[float]:
    """Return the duration of each stem that arrived."""
    files = [audio.media for audio in person.audios() if audio.media]
    return [measure(person.telegram.file_location(file["file_id"])) for file in files]


async def test_a_tagged_song_comes_back_in_all_stems_of_its_length(
    environment: LocalEnvironment, song: Path, tmp_path: Path
) -> None:
    part = beginning_with_tags(song, tmp_path / "song.mp3", 2)
    alice = Person(environment.telegram)
    _, menu = await alice.asks(part, ALL_STEMS)
    menu = await alice.shows(menu, "✅")
    assert alice.titles() == [f"Morning Line ({stem})" for stem in ("Vocals", "Drums", "Bass", "Other")]
    assert measure(part) == pytest.approx(2, abs=0.1)
    assert stem_seconds(alice) == [pytest.approx(measure(part), abs=0.05)] * 4


@pytest.mark.parametrize(("kind", "sent_as"), [("voice", "voice"), ("video", "video")])
async def test_other_kinds_of_files_come_back_in_both_stems_of_their_length(
    environment: LocalEnvironment, song: Path, tmp_path: Path, kind: str, sent_as: str
) -> None:
    path = record(song, tmp_path / f"My Song{KINDS[kind].extension}", KINDS[kind], SECONDS)
    alice = Person(environment.telegram)
    how = {"kind": "voice"} if kind == "voice" else {}
    sent = await alice.sends(path, **how)
    assert sent.kind == sent_as
    menu = await alice.answer_to(sent)
    await alice.taps(menu, VOCALS)
    menu = await alice.shows(menu, "✅")
    title = "Voice message" if kind == "voice" else "My Song"
    assert alice.titles() == [f"{title} (Vocals)", f"{title} (Instrumental)"]
    assert measure(path) == pytest.approx(SECONDS, abs=0.1)
    assert stem_seconds(alice) == [pytest.approx(measure(path), abs=0.05)] * 2


async def test_who_chooses_flac_gets_flac(environment: LocalEnvironment, song: Path, tmp_path: Path) -> None:
    alice = Person(environment.telegram)
    await alice.presses(await alice.answer_to(alice.says("/settings")), "FLAC")
    _, menu = await alice.asks(beginning_with_tags(song, tmp_path / "song.mp3", SECONDS), VOCALS)
    await alice.shows(menu, "✅")
    arrived = alice.telegram.bot_messages(alice.id)
    documents = [it.media for it in arrived if it.kind == "document" and it.media]
    assert [it["file_name"] for it in documents] == [
        "Morning Line (Vocals).flac",
        "Morning Line (Instrumental).flac",
    ]
    for document in documents:
        with av.open(str(alice.telegram.file_location(document["file_id"]))) as stem:
            assert stem.format.name == "flac"
            assert stem.metadata["title"] == document["file_name"].removesuffix(".flac")

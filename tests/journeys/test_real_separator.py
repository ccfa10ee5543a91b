"""The whole house with nothing played: the separator that we bring takes real songs of every kind apart."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from chat import Person
from kinds import KINDS, record
from process_pool import ForkedProcess

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.play.duration import measure

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOCALS, ALL_STEMS = 0, 1
SECONDS = 2.0
# What Telegram makes of each.
SENT_AS = {
    "mp3": "audio",
    "m4a": "audio",
    "flac": "document",
    "wav": "document",
    "voice": "voice",
    "video": "video",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalEnvironment]:
    async with LocalEnvironment(tmp_path_factory.mktemp("house") / "world", process=ForkedProcess) as running:
        await running.start("up")
        yield running
        assert running.telegram.unanswered_queries == []
        assert running.telegram.flood_refusals == 0
        assert " ERROR " not in running.logs()
        assert "Traceback" not in running.logs()
        # nor what opens a door: the key, and the links to songs and of callbacks that the separator knows
        assert "separator ready" in running.logs()
        assert running.variables()["SEPARATION_API_KEY"] not in running.logs()
        assert not re.search(r"/(source|callback|files|uploads)/[\w.-]{30}", running.logs(), re.ASCII)


def lengths(person: Person) -> list[float]:
    """Seconds of sound in each stem, by decoding all of it."""
    files = [audio.media for audio in person.audios() if audio.media]
    return [measure(person.telegram.file_location(file["file_id"])) for file in files]


async def test_the_bundled_song_comes_back_in_all_stems_of_its_length(
    world: LocalEnvironment, song: Path
) -> None:
    alice = Person(world.telegram)
    _, menu = await alice.asks(song, ALL_STEMS)
    await alice.shows(menu, "✅")
    assert alice.titles() == [f"Morning Line ({stem})" for stem in ("Vocals", "Drums", "Bass", "Other")]
    assert lengths(alice) == [pytest.approx(measure(song), abs=0.05)] * 4


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_file_comes_back_in_both_stems_of_its_length(
    world: LocalEnvironment, song: Path, tmp_path: Path, kind: str
) -> None:
    made = KINDS[kind]
    path = record(song, tmp_path / f"My Song{made.extension}", made, SECONDS)
    alice = Person(world.telegram)
    how = {"kind": "voice"} if kind == "voice" else {}
    sent = await alice.sends(path, **how)
    assert sent.kind == SENT_AS[kind]
    menu = await alice.answer_to(sent)
    await alice.taps(menu, VOCALS)
    await alice.shows(menu, "✅")
    title = "Voice message" if kind == "voice" else "My Song"
    assert alice.titles() == [f"{title} (Vocals)", f"{title} (Instrumental)"]
    assert measure(path) == pytest.approx(SECONDS, abs=0.1)
    assert lengths(alice) == [pytest.approx(measure(path), abs=0.05)] * 2

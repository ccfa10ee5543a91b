"""A song whose sample was measured on delivery is measured whole when something needs that."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from delivered import shown
from fileserver import FileServer
from product import Product, result_of
from tones import beginning_with_tags

import worker.audio.song_sample
import worker.stems.fetcher
from sandbox.telegram.chats import Message
from sandbox.telegram.faults import FaultKind
from stemdrop.domain.jobs import Job, JobState
from stemdrop.domain.outcomes import Sent
from stemdrop.domain.recipes import OFF_DB, Recipe
from stemdrop.domain.song_facts import SongFacts
from stemdrop.errors import TryLater
from stemdrop.services.song_measures import Measures
from stemdrop.tasks.engine import Queue, Task

NIGHT_CIRCUIT = Path(__file__).parents[2] / "sandbox" / "songs" / "night-circuit.mp3"
LOST = Sent(1, "lost", "lost")


@pytest.fixture
def product_options(files: FileServer) -> dict[str, Any]:
    return {"api_url": files.url}


@pytest.fixture(scope="module")
def stem(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Eleven seconds of music, enough for its tempo and key."""
    return beginning_with_tags(NIGHT_CIRCUIT, tmp_path_factory.mktemp("stem") / "stem.mp3", 11).read_bytes()


@pytest.fixture(autouse=True)
def _a_long_song(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let these songs count as long ones."""
    monkeypatch.setattr(worker.audio.song_sample, "_MIN_SAMPLED_S", 10)
    monkeypatch.setattr(worker.stems.fetcher, "PAUSES_S", (0.001,))


@pytest.fixture
async def job(deliver_cached: Callable[..., Awaitable[Job]], stem: bytes) -> Job:
    """A delivered song of which a sample was measured."""
    return await deliver_cached(stem, SongFacts(172.3, None, "F minor", -8.9))


def is_exact(facts: SongFacts | None) -> bool:
    return bool(facts and facts.has_beats and facts.bpm == pytest.approx(172, abs=0.1))


def fetched(product: Product) -> list[str]:
    """Return the ids of the files that were asked of Telegram."""
    return [call.parameters["file_id"] for call in product.telegram.calls if call.method == "getFile"]


async def asked(product: Product) -> list[str]:
    return await product.taken(Queue.RENDERS, Task.MEASURE)


async def test_what_is_shown_on_delivery_is_known_by_a_sample(
    product: Product, files: FileServer, sent: Message
) -> None:
    song = NIGHT_CIRCUIT.read_bytes()
    result = result_of({key: files.put(f"{key}.mp3", song) for key in ("vocals", "instrumental")})
    job = await product.at(JobState.DELIVERING, sent, result=result)
    await product.delivery().run(job.id)
    job = await product.job(job.id)
    assert shown(product, job).text.startswith("✅ “Morning Line”: 2 stems are here.\n172 BPM · F minor · −")
    assert job.facts
    assert not job.facts.has_beats
    assert job.facts.bpm == pytest.approx(172, abs=0.5)
    assert await product.song_measures.get(job) is None  # the whole song was not measured


async def test_whole_stems_are_measured_once_when_they_are_asked_for(product: Product, job: Job) -> None:
    assert await product.song_measures.get(job) is None
    assert await product.song_measures.get(job) is None
    assert await asked(product) == [job.id]
    measuring = product.measuring()
    await measuring.run(job.id)
    measures = await product.song_measures.get(job)
    assert measures
    assert set(measures.peaks) == {"vocals", "instrumental"}
    assert is_exact(measures.facts)
    assert (await product.job(job.id)).facts == measures.facts
    fetched = len(product.telegram.calls)
    await measuring.run(job.id)
    assert len(product.telegram.calls) == fetched
    assert await asked(product) == []


async def test_another_job_of_the_song_learns_what_is_known(product: Product, job: Job) -> None:
    measuring, sample = product.measuring(), job.facts
    await measuring.run(job.id)
    await product.store.set(job.id, facts=sample)
    assert is_exact((await measuring.measure(await product.job(job.id))).facts)
    assert is_exact((await product.job(job.id)).facts)


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("kind", [FaultKind.RESET_BEFORE, FaultKind.FILE_UNAVAILABLE])
async def test_stems_that_cannot_be_fetched_now_are_measured_later(
    product: Product, job: Job, files: FileServer, kind: FaultKind, is_cached: bool
) -> None:
    measuring = product.measuring()
    product.telegram.faults.add(kind, times=100, method="getFile")
    if is_cached:
        assert job.result
        stems = tuple(replace(stem, url="") for stem in job.result.stems)
        await product.store.set(job.id, result=replace(job.result, stems=stems))
    files.files.clear()  # the provider has lost them
    assert await product.song_measures.get(job) is None
    assert await asked(product) == [job.id]
    await measuring.run(job.id)
    await measuring.run("0" * 16)
    assert (await product.job(job.id)).facts == job.facts
    for again in ([], [job.id]):
        assert await product.song_measures.get(job) is None
        assert await asked(product) == again
        await product.users.may_say_again(f"measure:{job.id}")  # half a minute later


async def test_a_stem_that_is_away_costs_no_second_download_of_the_others(
    product: Product, job: Job, files: FileServer
) -> None:
    await product.store.tick(job.id, {"instrumental": LOST})
    song = files.files["instrumental.mp3"]
    files.put("instrumental.mp3", status=503)
    measuring, before = product.measuring(), fetched(product)
    await measuring.run(job.id)
    assert (await product.job(job.id)).facts == job.facts
    files.files["instrumental.mp3"] = song
    await measuring.run(job.id)
    measures = await product.song_measures.get(job)
    assert measures
    assert set(measures.peaks) == {"vocals", "instrumental"}
    assert is_exact(measures.facts)
    files_asked = [file_id for file_id in fetched(product)[len(before) :] if file_id != "lost"]
    assert len(files_asked) == 1


async def test_a_song_is_measured_whole_after_an_unexpected_error(
    product: Product, job: Job, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    await product.store.tick(job.id, {"instrumental": LOST})
    song = files.files["instrumental.mp3"]
    files.put("instrumental.mp3", status=503)
    measuring = product.measuring()
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("worker.audio.sound.measure_sound", fail)
        await measuring.run(job.id)
    files.files["instrumental.mp3"] = song
    await measuring.run(job.id)
    assert is_exact((await product.job(job.id)).facts)


async def test_few_unfinished_songs_are_remembered(
    product: Product, job: Job, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.measuring._MAX_UNFINISHED", 1)
    await product.store.tick(job.id, {"instrumental": LOST})
    files.put("instrumental.mp3", status=503)
    other, sent = replace(job, id=Job.new_id()), await product.store.sent(job.id)
    await product.store.add(other, once=other.id)
    await product.store.tick(other.id, sent)
    measuring, downloads = product.measuring(), []
    for one in (job, job, other, job):
        before = fetched(product)
        with pytest.raises(TryLater):
            await measuring.measure(one)
        downloads.append(sent["vocals"].file_id in fetched(product)[len(before) :])
    assert downloads == [True, False, True, True]


async def test_stems_that_are_lost_are_not_measured_again(
    product: Product, job: Job, files: FileServer
) -> None:
    await product.store.tick(job.id, dict.fromkeys(("vocals", "instrumental"), LOST))
    files.files.clear()
    assert await product.song_measures.get(job) is None
    await product.measuring().run(job.id)
    assert await product.song_measures.get(job) == Measures(job.facts)
    assert (await product.job(job.id)).facts == job.facts


@pytest.mark.parametrize("lost", ["vocals", "instrumental"])
async def test_what_is_known_of_a_song_stays_known_when_a_stem_is_lost(
    product: Product, job: Job, files: FileServer, lost: str
) -> None:
    """The other stem may tell the exact beats, which clicks need."""
    await product.store.tick(job.id, {lost: LOST})
    del files.files[f"{lost}.mp3"]
    await product.measuring().run(job.id)
    measures = await product.song_measures.get(job)
    assert measures
    assert set(measures.peaks) == {"vocals", "instrumental"} - {lost}
    assert measures.facts == (await product.job(job.id)).facts
    assert job.facts
    assert measures.facts
    assert (measures.facts.key, measures.facts.loudness) == (job.facts.key, job.facts.loudness)
    assert is_exact(measures.facts) if lost == "vocals" else measures.facts == job.facts


async def test_a_stem_that_is_too_large_is_not_measured_in_part(product: Product, job: Job) -> None:
    await product.measuring(max_bytes=100_000).run(job.id)
    assert await product.song_measures.get(job) == Measures(job.facts)


async def test_a_song_whose_measuring_killed_its_workers_is_not_measured_again(
    product: Product, job: Job
) -> None:
    measuring = product.measuring()
    await measuring.give_up(job.id)
    assert await product.song_measures.get(job) == Measures(job.facts)
    await measuring.give_up("0" * 16)
    assert await asked(product) == []


async def test_a_song_that_is_not_cached_is_not_measured_again(product: Product, job: Job) -> None:
    assert job.mode
    await product.stem_cache.forget(job.source, (job.mode, job.instrument), job.file_format)
    assert await product.song_measures.get(job) == Measures(job.facts)
    assert await asked(product) == []


@pytest.fixture
async def remixed(product: Product, job: Job, files: FileServer, tone: bytes) -> Job:
    """The job, of which Telegram has lost the vocals and the provider has short ones, which mix quickly."""
    await product.store.tick(job.id, {"vocals": LOST})
    files.put("vocals.mp3", tone)
    return job


COUNT_IN = Recipe(has_count_in=True).with_gain("instrumental", OFF_DB)


async def test_clicks_are_placed_by_the_whole_song(product: Product, remixed: Job) -> None:
    """Also if Telegram does not give the stems at first."""
    remix = await product.remixing.order(remixed, remixed.user_id, [COUNT_IN], by="tap", language="en")
    assert remix
    renders = product.renders()
    product.telegram.faults.add(FaultKind.RESET_BEFORE, method="getFile")
    with pytest.raises(TryLater):
        await renders.run(remix.id)
    await renders.run(remix.id)
    assert is_exact((await product.job(remixed.id)).facts)
    titles = [it.media["title"] for it in product.telegram.bot_messages(remixed.chat_id) if it.media]
    assert titles[-1] == "Morning Line (only vocals, count-in)"


async def test_a_remix_goes_on_at_last_without_clicks_if_a_stem_stays_away(
    product: Product, remixed: Job, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the remix does not need that stem itself."""
    monkeypatch.setattr("worker.renders.RUNS_THAT_WAIT", 1)
    await product.store.tick(remixed.id, {"instrumental": LOST})
    files.put("instrumental.mp3", status=503)
    remix = await product.remixing.order(remixed, remixed.user_id, [COUNT_IN], by="tap", language="en")
    assert remix
    renders = product.renders()
    with pytest.raises(TryLater):
        await renders.run(remix.id)
    await renders.run(remix.id)
    titles = [it.media["title"] for it in product.telegram.bot_messages(remixed.chat_id) if it.media]
    assert titles[-1] == "Morning Line (only vocals)"
    assert await product.song_measures.get(remixed) is None  # the stem may come back


@pytest.mark.parametrize("is_archive", [False, True])
async def test_a_remix_without_clicks_is_not_sent_where_they_are_possible(
    product: Product, remixed: Job, files: FileServer, monkeypatch: pytest.MonkeyPatch, *, is_archive: bool
) -> None:
    monkeypatch.setattr("worker.renders.RUNS_THAT_WAIT", 0)
    await product.store.tick(remixed.id, {"instrumental": LOST})
    song = files.files["instrumental.mp3"]
    files.put("instrumental.mp3", status=503)
    metronome = replace(COUNT_IN, has_count_in=False, has_metronome=True)
    recipes = [replace(metronome, speed=speed) for speed in (100, 90)]
    for tap in ("away", "back"):
        now = await product.job(remixed.id)
        remix = await product.remixing.order(
            now, now.user_id, recipes, by=tap, language="en", is_archive=is_archive
        )
        assert remix
        await product.renders().run(remix.id)
        files.files["instrumental.mp3"] = song
    sent = [it.media["file_id"] for it in product.telegram.bot_messages(remixed.chat_id) if it.media][-4:]
    without, with_clicks = (sent[-2:-1], sent[-1:]) if is_archive else (sent[:2], sent[2:])
    assert not set(without) & set(with_clicks)

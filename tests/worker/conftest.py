"""Songs and stems of the worker's tests."""

from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path

import pytest
from fileserver import FileServer
from product import Product, result_of
from tones import beginning_with_tags, mp3

from sandbox.telegram.chats import Message
from stemdrop.domain.jobs import CachedStem, Job, JobState
from stemdrop.domain.song_facts import SongFacts
from stemdrop.storage.stem_cache import CachedStems

DEMO_SONG = Path(__file__).parents[2] / "sandbox" / "songs" / "demo-song.mp3"


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first second of the bundled song, with its tags: most tests send it, whatever it sounds like."""
    return beginning_with_tags(DEMO_SONG, tmp_path_factory.mktemp("song") / DEMO_SONG.name, 1)


@pytest.fixture(scope="session")
def tone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tenth of a second of a real MP3, at the rate at which sound is measured: most tests send many stems,
    whatever is in them."""
    return mp3(tmp_path_factory.mktemp("tone") / "tone.mp3", 0.1, rate=24_000)


Deliver = Callable[..., Awaitable[Job]]


@pytest.fixture
def deliver_cached(product: Product, files: FileServer, sent: Message) -> Deliver:
    """A function that delivers this sound as vocals and instrumental, both from the cache, which is quick."""

    async def delivered(sound: bytes, facts: SongFacts | None = None) -> Job:
        result = result_of({key: files.put(f"{key}.mp3", sound) for key in ("vocals", "instrumental")})
        known, cached = product.telegram.files, list[CachedStem]()
        for stem in result.stems:
            tagged = sound + b"TAG" + stem.key.encode().ljust(125, b"\0")  # ID3v1, so that the files differ
            stored = known.add_media("audio", known.read(BytesIO(tagged)), f"{stem.key}.mp3")
            title = f"Morning Line ({stem.key.title()})"
            cached.append(CachedStem(stem.key, "audio", stored.file_id, title))
        stems = tuple(cached)
        job = await product.at(JobState.DELIVERING, sent, result=result, cached=stems, facts=facts)
        await product.stem_cache.put(job, CachedStems(result, stems, facts))
        await product.delivery().run(job.id)
        return await product.job(job.id)

    return delivered


@pytest.fixture
async def two(deliver_cached: Deliver, tone: bytes) -> Job:
    """A delivered job with vocals and instrumental."""
    return await deliver_cached(tone)

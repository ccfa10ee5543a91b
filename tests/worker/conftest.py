"""Songs and stems of the worker's tests."""

from pathlib import Path

from io import BytesIO

import pytest
from fileserver import FileServer
from product import Product, result_of
from tones import mp3

from sandbox.telegram.chats import Message
from stemdrop.domain.jobs import CachedStem, Job, JobState
from stemdrop.storage.stem_cache import CachedStems


@pytest.fixture(scope="session")
def tone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A quarter of a second of a real, small MP3: most tests send many stems, whatever is in them."""
    return mp3(tmp_path_factory.mktemp("tone") / "tone.mp3", 0.25)


@pytest.fixture
async def two(product: Product, files: FileServer, sent: Message, tone: bytes) -> Job:
    """A delivered job whose stems, vocals and instrumental, came from the cache, which is quicker."""
    result, cached = result_of({key: files.put(f"{key}.mp3", tone) for key in ("vocals", "instrumental")}), []
    for stem in result.stems:
        stored = product.telegram.files.add_media(
            "audio", product.telegram.files.read(BytesIO(tone)), stem.key
        )
        cached.append(CachedStem(stem.key, "audio", stored.file_id, f"Morning Line ({stem.key.title()})"))
    job = await product.at(JobState.DELIVERING, sent, result=result, cached=tuple(cached))
    await product.stem_cache.put(job, CachedStems(result, tuple(cached)))
    await product.delivery().run(job.id)
    return await product.job(job.id)

"""`SongMeasures`: the measures of a song's whole stems, which a worker takes when first asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stemdrop.domain.jobs import Job
from stemdrop.domain.song_facts import SongFacts
from stemdrop.storage.stem_cache import StemCache
from stemdrop.storage.users import Users
from stemdrop.tasks.engine import Engine, Task

# If the stems are gone, each try asks Telegram and the provider for all of them.
_AGAIN_S = 30


@dataclass(frozen=True, slots=True)
class Measures:
    """The measures of a song; `peaks` by stem key, absent where there are none (`CachedStems`)."""

    facts: SongFacts | None
    peaks: Mapping[str, str] = field(default_factory=dict)


class SongMeasures:
    def __init__(self, stem_cache: StemCache, users: Users, engine: Engine) -> None:
        self._stem_cache = stem_cache
        self._users = users
        self._engine = engine

    async def get(self, job: Job) -> Measures | None:
        """Return what is known of a job's song; `None` if a worker is to measure it first. Idempotent.

        A worker that could not measure it is asked again after half a minute.
        """
        if job.mode is None:
            return Measures(job.facts)
        cached = await self._stem_cache.find(job.source, (job.mode, job.instrument), job.file_format)
        if cached is None:  # the stems are not cached
            return Measures(job.facts)
        if cached.is_measured:
            return Measures(cached.facts, cached.peaks)
        async with self._users.once_in_a_while(f"measure:{job.id}", _AGAIN_S) as is_due:
            if is_due:
                await self._engine.add(Task.MEASURE, job.id, job.id)
        return None

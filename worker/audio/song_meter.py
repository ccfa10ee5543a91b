"""`SongMeter`: measures a song by its stems."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import SongFacts
from worker.cancellable_thread import run_in_thread

if TYPE_CHECKING:
    from worker.audio.sound import Sound, Values

log = logging.getLogger(__name__)

MEASURED_AT_ONCE = 2
# So long a delivery waits for its turn; its stems are then sent without being measured.
MEASURING_PATIENCE_S = 10.0
# Longer recordings have more than one tempo and key, and would keep the processor from other songs.
MAX_MEASURED_S = 20 * 60
# Shorter songs have no tempo or key to speak of.
MIN_S = 8
_DRUMS = frozenset({"drums", "percussion", "drum_kit"})
_SUNG = frozenset({"vocals", "backing_vocals", "lead_vocal"})
_MAX_ADDED = 2
# ITU-R BS.1770-5: the gates, and the offset of its scale.
_ABSOLUTE_GATE, _RELATIVE_GATE_DB, _OFFSET_DB = -70.0, 10, -0.691


@dataclass
class SongMeter:
    """Measures the stems of one job, in any order, and the song by them.

    A song that cannot be measured is delivered all the same: an unexpected error is logged, once.
    """

    job_id: str
    stems: Sequence[Stem]
    # shared by all jobs of a process, whose threads have other work, too
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MEASURED_AT_ONCE))
    silent: set[str] = field(default_factory=set)  # keys of stems that need not be measured
    _sounds: dict[str, "Sound"] = field(default_factory=dict)
    _is_broken: bool = False

    async def measure(self, stem: Stem, path: Path, audio_format: AudioFormat, duration_s: float) -> None:
        """Measure a stem's file, unless it is long or its turn does not come soon."""
        if duration_s > MAX_MEASURED_S:
            return
        try:
            async with asyncio.timeout(MEASURING_PATIENCE_S):
                await self.slots.acquire()
        except TimeoutError:
            log.info("job %s: stem %s is not measured: other songs are", self.job_id, stem.key)
            return
        try:
            if sound := await run_in_thread(_measure_sound, path, audio_format):
                self._sounds[stem.key] = sound
        except Exception:
            self._give_up()
        finally:
            self.slots.release()

    @property
    def peaks(self) -> dict[str, str]:
        """The encoded peaks of each measured stem."""
        return {key: sound.peaks for key, sound in self._sounds.items()}

    async def facts(self) -> SongFacts | None:
        """Return what is certain by the stems measured so far; `None` if that is only the loudness."""
        try:
            return await run_in_thread(self._facts)
        except Exception:
            self._give_up()
            return None

    def _facts(self) -> SongFacts | None:
        from worker.audio.rhythm import find_beats  # noqa: PLC0415
        from worker.audio.tonality import find_key  # noqa: PLC0415

        # other stems may be added meanwhile
        longest_s = max([sound.duration_s for sound in list(self._sounds.values())], default=0)
        if self._is_broken or longest_s < MIN_S:
            return None
        played = [stem for stem in self.stems if stem.is_rest or stem.key not in _SUNG]
        drums = [stem for stem in played if not stem.is_rest and stem.key in _DRUMS]
        pitched = [stem for stem in played if stem not in drums]
        beats = find_beats(self._sum(drums, "onsets")) or find_beats(self._sum(played, "onsets"))
        key = find_key(self._sum(pitched, "pitches"))
        if beats is None and not key:
            return None
        loudness = self._loudness()
        return SongFacts(beats.bpm, beats.at_s, key, loudness) if beats else SongFacts(0, 0, key, loudness)

    def _sum(self, stems: Collection[Stem], name: str) -> "Values":
        """Add up a measure of stems, which may differ in length."""
        import numpy as np  # noqa: PLC0415

        values = [getattr(self._sounds[stem.key], name) for stem in stems if stem.key in self._sounds]
        total = np.zeros(max(values, key=len).shape) if values else np.zeros(0)
        for value in values:
            total[: len(value)] += value
        return total

    def _loudness(self) -> float | None:
        """Return the integrated loudness of all stems together in LUFS; `None` unless all were measured.

        The energies of voice and instrumental add up to that of the song. More stems share each sound among
        them: separated ones were 1 dB too quiet.
        """
        import numpy as np  # noqa: PLC0415

        if len(self._sounds) > _MAX_ADDED or any(
            stem.key not in self._sounds and stem.key not in self.silent for stem in self.stems
        ):
            return None
        energies = np.convolve(self._sum(self.stems, "energies"), np.full(4, 0.25), "valid")
        levels = _OFFSET_DB + 10 * np.log10(np.maximum(energies, 1e-12))
        loud = energies[levels > _ABSOLUTE_GATE]
        if not loud.size:
            return None
        loud = loud[loud > loud.mean() / 10 ** (_RELATIVE_GATE_DB / 10)]
        return float(round(_OFFSET_DB + 10 * np.log10(loud.mean()), 1))

    def _give_up(self) -> None:
        if not self._is_broken:
            self._is_broken = True
            log.exception("job %s: its song cannot be measured", self.job_id)


def _measure_sound(path: Path, audio_format: AudioFormat) -> "Sound | None":
    from worker.audio.sound import measure_sound  # noqa: PLC0415

    return measure_sound(path, audio_format)

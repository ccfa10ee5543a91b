"""`SongMeter`: measures tempo, key, loudness and peaks of a song by its stems."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import SongFacts
from worker.audio.song_sample import MAX_ADDED, is_drums, is_pitched, is_sampled, sample_of, second_sample_of
from worker.cancellable_thread import run_in_thread

if TYPE_CHECKING:
    from worker.audio.sound import Sound, Values

log = logging.getLogger(__name__)

# Longer recordings have more than one tempo and key, and would keep the processor from other songs.
MAX_MEASURED_S = 20 * 60
# Shorter songs have no tempo or key to speak of.
MIN_S = 8
# ITU-R BS.1770-5: the gates, and the offset of its scale.
_ABSOLUTE_GATE, _RELATIVE_GATE_DB, _OFFSET_DB = -70.0, 10, -0.691


@dataclass
class SongMeter:
    """Measures the stems of one job, in any order, and with them the song.

    Only a sample of a longer song is measured, unless `is_whole` is set. An unexpected error is logged, once,
    and not raised: a song that cannot be measured is delivered all the same.
    """

    job_id: str
    stems: Sequence[Stem]
    is_whole: bool = False
    silent: set[str] = field(default_factory=set)  # keys of stems that need not be measured
    _sounds: dict[str, "Sound"] = field(default_factory=dict)
    _length_s: float = 0.0  # of the first stem: the sample is taken at the same places of all stems
    is_broken: bool = False  # an unexpected error was logged

    async def measure(self, stem: Stem, path: Path, audio_format: AudioFormat, duration_s: float) -> None:
        """Measure a stem's file, unless it is longer than `MAX_MEASURED_S`."""
        if duration_s > MAX_MEASURED_S:
            return
        self._length_s = self._length_s or duration_s
        try:
            if sound := await run_in_thread(self._measure, stem, path, audio_format):
                self._sounds[stem.key] = sound
        except Exception:
            self._give_up()

    def _measure(self, stem: Stem, path: Path, audio_format: AudioFormat) -> "Sound | None":
        from worker.audio.rhythm import find_beats  # noqa: PLC0415
        from worker.audio.sound import measure_parts, measure_sound  # noqa: PLC0415

        if not self._is_sampled:
            return measure_sound(path, audio_format)
        length_s, parts = self._length_s, sample_of(stem, self.stems, self._length_s)
        sound = measure_parts(path, audio_format, length_s, parts) if parts else None
        if sound and sound.onsets.size and not find_beats(sound.onsets):
            other = measure_parts(path, audio_format, length_s, second_sample_of(length_s))
            return replace(sound, onsets=other.onsets) if other else sound
        return sound

    @property
    def _is_sampled(self) -> bool:
        return not self.is_whole and is_sampled(self._length_s)

    @property
    def measured(self) -> Collection[str]:
        """The keys of the stems that were measured."""
        return self._sounds.keys()

    @property
    def peaks(self) -> dict[str, str]:
        """The encoded peaks of each stem that was measured whole."""
        return {key: sound.peaks for key, sound in self._sounds.items() if sound.peaks}

    @property
    def is_complete(self) -> bool:
        """Whether each stem was measured, or need not be."""
        return not self.is_broken and self.silent.union(self._sounds).issuperset(it.key for it in self.stems)

    async def facts(self) -> SongFacts | None:
        """Return what the stems measured so far tell for certain; `None` if neither tempo nor key is."""
        try:
            return await run_in_thread(self._facts)
        except Exception:
            self._give_up()
            return None

    def _facts(self) -> SongFacts | None:
        from worker.audio.rhythm import find_beats  # noqa: PLC0415
        from worker.audio.tonality import find_key  # noqa: PLC0415

        # a copy, since other stems may be added meanwhile
        longest_s = max([sound.duration_s for sound in list(self._sounds.values())], default=0)
        if self.is_broken or longest_s < MIN_S:
            return None
        drums = [stem for stem in self.stems if is_drums(stem)]
        pitched = [stem for stem in self.stems if is_pitched(stem)]
        beats = find_beats(self._sum(drums, "onsets")) or find_beats(self._sum([*drums, *pitched], "onsets"))
        key = find_key(self._sum(pitched, "pitches"), is_sample=self._is_sampled)
        if beats is None and not key:
            return None
        loudness = self._loudness()
        if beats is None:
            return SongFacts(key=key, loudness=loudness)
        # the beats of a sample do not tell exactly where the beats a minute later are
        return SongFacts(beats.bpm, None if self._is_sampled else beats.at_s, key, loudness)

    def _sum(self, stems: Collection[Stem], name: str) -> "Values":
        """Add up one measure of the stems, whose lengths may differ."""
        import numpy as np  # noqa: PLC0415

        values = [getattr(self._sounds[stem.key], name) for stem in stems if stem.key in self._sounds]
        total = np.zeros(max(values, key=len).shape) if values else np.zeros(0)
        for value in values:
            total[: len(value)] += value
        return total

    def _loudness(self) -> float | None:
        """Return the integrated loudness of all stems together in LUFS; `None` unless all were measured.

        The energies of vocals and instrumental add up to that of the song. More stems share each sound, so
        that the sum of their energies was 1 dB too low.
        """
        import numpy as np  # noqa: PLC0415

        if len(self._sounds) > MAX_ADDED or not self.is_complete:
            return None
        energies = np.convolve(self._sum(self.stems, "energies"), np.full(4, 0.25), "valid")
        levels = _OFFSET_DB + 10 * np.log10(np.maximum(energies, 1e-12))
        loud = energies[levels > _ABSOLUTE_GATE]
        if not loud.size:
            return None
        loud = loud[loud > loud.mean() / 10 ** (_RELATIVE_GATE_DB / 10)]
        return float(round(_OFFSET_DB + 10 * np.log10(loud.mean()), 1))

    def _give_up(self) -> None:
        if not self.is_broken:
            self.is_broken = True
            log.exception("job %s: its song cannot be measured", self.job_id)

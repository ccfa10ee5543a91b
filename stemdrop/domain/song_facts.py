"""`SongFacts`: what was measured of a song. Plain data; no I/O."""

from dataclasses import dataclass
from typing import Self

# The usual spelling of each key, in semitones from C: the major ones, then the minor ones.
KEYS = tuple(
    f"{tonic} {mode}"
    for mode, tonics in (("major", "C D♭ D E♭ E F F♯ G A♭ A B♭ B"), ("minor", "C C♯ D E♭ E F F♯ G G♯ A B♭ B"))
    for tonic in tonics.split()
)


@dataclass(frozen=True, slots=True)
class SongFacts:
    """The measures of a song that are certain; the others are 0, empty or `None`.

    Beats are `60 / bpm` seconds apart, and one is at `beat_s`, which is `None` if only a sample of the song
    was measured; `bpm` is then approximate. `key` is one of `KEYS`; `loudness` is in LUFS.
    """

    bpm: float = 0
    beat_s: float | None = 0
    key: str = ""
    loudness: float | None = None

    @property
    def short_key(self) -> str:
        """The key as ID3v2 writes it in `TKEY`: "Db", "F#m"."""
        tonic, _, mode = self.key.translate({ord("♭"): "b", ord("♯"): "#"}).partition(" ")
        return f"{tonic}m" if mode == "minor" else tonic

    def changed(self, speed: int, semitones: int) -> Self:
        """Return the facts of the song at `speed` percent, `semitones` higher, without the loudness."""
        key = transposed(self.key, semitones) if self.key else ""
        beat_s = None if self.beat_s is None else self.beat_s * 100 / speed
        return type(self)(self.bpm * speed / 100, beat_s, key)

    @property
    def has_beats(self) -> bool:
        """Whether it is known where the beats are."""
        return bool(self.bpm) and self.beat_s is not None


def transposed(key: str, semitones: int) -> str:
    """Return the key that is `semitones` above `key`; both are of `KEYS`."""
    mode, tonic = divmod(KEYS.index(key), 12)
    return KEYS[mode * 12 + (tonic + semitones) % 12]

"""Compose the bundled songs `harbour-waltz` and `night-circuit`: python -m tools.compose_songs [--stems DIR]

Every sound is computed, so the songs are under stemdrop's own licence. The MP3 files go to `sandbox/songs`;
with `--stems` the true stems, which add up to the mix, go to DIR as FLAC.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
from av import AudioStream

from tools import synthesizer as synth
from tools.synthesizer import RATE, Stereo

Stems = dict[str, Stereo]

SONGS_FOLDER = Path(__file__).parent.parent / "sandbox" / "songs"
STEM_NAMES = ("vocals", "drums", "bass", "other")
_LOUDNESS_DB = -14.0  # root mean square of the mix, relative to full scale
_CEILING = 0.82  # an MP3 decoder overshoots by up to 1.5 dB


@dataclass(frozen=True)
class Song:
    """A song to compute. Its melody consists of `note:beats` and, for rests, `-:beats`.

    The `vowels` are sung in turn. `levels_db` are the levels of the stems, in the order of `STEM_NAMES`,
    relative to each other.
    """

    name: str
    title: str
    performer: str
    beats_per_minute: float
    beats_per_bar: int
    chords: str  # one for each bar
    melody: str
    vowels: str
    levels_db: tuple[float, float, float, float]
    play: Callable[["Song", "Bars"], Stems]

    @property
    def beat_s(self) -> float:
        return 60 / self.beats_per_minute


@dataclass(frozen=True)
class Bars:
    """The first bars of a song; `silence` returns an empty stem, two seconds longer for sounds to fade."""

    song: Song
    count: int

    def __iter__(self) -> Iterator[tuple[float, list[int]]]:
        """Yield each bar's start in seconds and its chord: MIDI notes, the root first, at C3 or above."""
        for number, name in enumerate(self.song.chords.split()[: self.count]):
            yield number * self.song.beats_per_bar * self.song.beat_s, synth.chord_notes(name)

    def silence(self) -> Stereo:
        seconds = self.count * self.song.beats_per_bar * self.song.beat_s + 2
        return np.zeros((2, int(seconds * RATE)))


def _sing(song: Song, bars: Bars, breath: float, glide_s: float) -> Stereo:
    """Return the melody, sung by an additive voice with formants, vibrato and glides."""
    stem, beat, before = bars.silence(), 0.0, 0
    for number, token in enumerate(song.melody.split()):
        name, beats = token.split(":")
        start_s, length_s = beat * song.beat_s, float(beats) * song.beat_s
        beat += float(beats)
        if name == "-" or start_s + length_s > bars.count * song.beats_per_bar * song.beat_s + 1e-6:
            before = 0
            continue
        note = synth.midi_note(name)
        time = synth.times(length_s + 0.08)
        vibrato = 0.28 * np.sin(2 * np.pi * 5.3 * time) * np.clip(time / 0.5 - 0.4, 0, 1)
        slide = ((before or note - 1) - note) * np.exp(-time / glide_s)
        frequency = 440 * 2 ** ((note + vibrato + slide - 69) / 12)
        vowels = [song.vowels[(number + step) % len(song.vowels)] for step in (0, 1)]
        mouth = 0.5 - 0.5 * np.cos(np.pi * np.clip(time / length_s, 0, 1))  # from one vowel to the next
        first, second = (synth.oscillate(frequency, synth.formants(note, vowel)) for vowel in vowels)
        air = synth.noise(time.size / RATE, number, 1500, 7000) * breath
        sound = first * (1 - mouth) + second * mouth + air
        synth.place(stem, sound * synth.fade(time.size / RATE, 0.06, 0.12), start_s, 0.5)
        before = note
    return stem


def _play_waltz(song: Song, bars: Bars) -> Stems:
    stems = {name: bars.silence() for name in STEM_NAMES}
    beat_s = song.beat_s
    for number, (at_s, chord) in enumerate(bars):
        is_last = number == len(song.chords.split()) - 1
        synth.pad(stems["other"], chord, at_s, 3 * beat_s, 2600, 0.05)
        for step, note in enumerate([0, 1, 2] if is_last else [0, 2, 1, 2, 1, 2]):
            side = 0.6 if step % 2 else -0.6
            synth.place(
                stems["other"], synth.pluck(chord[note] + 12, 1.6, 5000), at_s + step * beat_s / 2, 0.16, side
            )
        root = chord[0] - (24 if chord[0] > 52 else 12)
        for beat, note in ((0, root), (2, root + 7)):
            synth.place(
                stems["bass"], synth.pluck(note, 1.1, 900), at_s + beat * beat_s, 0.75 if beat == 0 else 0.4
            )
        if number == 0:
            continue
        synth.place(stems["drums"], synth.kick(90, 48, 0.45), at_s, 0.75)
        for at, gain in ((1, 0.2), (2, 0.28), (2.5, 0.1)) if not is_last else ():
            start_s = at_s + at * beat_s
            synth.place(stems["drums"], synth.snare(0.25, int(at * 2)), start_s, gain * 1.6, 0.1)
            synth.place(stems["drums"], synth.hat(0.12, 9), start_s, gain, 0.35)
    stems["vocals"] = synth.reverb(_sing(song, bars, 0.02, 0.05), 1.4, 0.22)
    stems["other"] = synth.reverb(stems["other"], 1.8, 0.3)
    stems["drums"] = synth.reverb(stems["drums"], 0.6, 0.12)
    return stems


def _play_drum_and_bass(song: Song, bars: Bars) -> Stems:
    stems = {name: bars.silence() for name in STEM_NAMES}
    step_s = song.beat_s / 4
    duck = np.ones(stems["other"].shape[1])
    for number, (at_s, chord) in enumerate(bars):
        synth.pad(stems["other"], chord, at_s, 4 * song.beat_s, 3200, 0.035)
        for step in range(0, 16, 2):
            note = chord[(0, 2, 1, 2, 0, 1, 2, 1)[step // 2]] + (24 if step % 4 else 12)
            for echo in range(3):
                side = (-0.8, 0.8, -0.5)[echo] * (1 if step % 4 else -1)
                synth.place(
                    stems["other"],
                    synth.pluck(note, 0.5, 6000),
                    at_s + (step + 3 * echo) * step_s,
                    0.15 / 2**echo,
                    side,
                )
        for step in range(0, 16, 2):
            synth.place(
                stems["drums"], synth.hat(0.09, step), at_s + step * step_s, 0.42 if step % 4 else 0.28, 0.3
            )
        if number < 2:
            continue
        root = chord[0] - (24 if chord[0] > 52 else 12)
        for step, length, up in ((0, 3, 0), (3, 3, 0), (6, 4, 12), (10, 6, 0)):
            synth.place(
                stems["bass"], synth.growl(root + up, length * step_s, step), at_s + step * step_s, 0.5
            )
        is_fill = number % 8 == 7
        for step in (0, 10) if not is_fill else (0, 6, 10):
            synth.place(stems["drums"], synth.kick(160, 50, 0.3), at_s + step * step_s, 0.95)
            start = int((at_s + step * step_s) * RATE)
            dip = 1 - 0.6 * np.exp(-synth.times(0.25) / 0.07)
            duck[start : start + dip.size] *= dip[: max(0, duck.size - start)]
        for step, gain in ((4, 0.8), (12, 0.8), (7, 0.2), (9, 0.15)):
            synth.place(stems["drums"], synth.snare(0.3, step), at_s + step * step_s, gain)
        for step in (13, 14, 15) if is_fill else ():
            synth.place(
                stems["drums"], synth.snare(0.2, step), at_s + step * step_s, 0.25 + 0.1 * (step - 13), 0.2
            )
    stems["vocals"] = synth.reverb(_sing(song, bars, 0.03, 0.03), 1.1, 0.2)
    stems["other"] = synth.reverb(stems["other"], 1.2, 0.2) * duck
    stems["drums"] = synth.reverb(stems["drums"], 0.4, 0.06)
    return stems


SONGS = (
    Song(
        *("harbour-waltz", "Harbour Waltz", "Sandbox Trio", 90, 3),
        "Dm Gm C7 F Bb Gm A7 Dm Bb F Gm A7 Dm",
        "-:3 D5:2 C5:.5 Bb4:.5 Bb4:1 G4:1 E4:1 A4:3 F4:1 Bb4:1 D5:1 D5:2 Bb4:1 C#5:2 A4:1 D5:2.5 -:.5 "
        "F5:2 D5:1 C5:2 A4:1 Bb4:1 A4:1 G4:1 E4:1 A4:1 C#5:1 D5:3",
        *("muom", (-18, -22, -21, -18), _play_waltz),
    ),
    Song(
        *("night-circuit", "Night Circuit", "Sandbox Machine", 172, 4),
        "Fm Db Ab Eb " * 4,
        "-:16 C5:1.5 Ab4:1.5 F4:1 F4:1.5 Ab4:1.5 Db5:1 C5:3 Eb5:1 Bb4:2 G4:1 -:1 "
        "F5:1.5 Eb5:1.5 C5:1 Db5:1.5 Ab4:1.5 F4:1 C5:2 Eb5:1 C5:1 Bb4:3 -:1 "
        "C5:1.5 Ab4:1.5 F4:1 F4:1.5 Ab4:1.5 Db5:1 C5:3 Eb5:1 Bb4:1.5 Db5:1.5 C5:1",
        *("aoea", (-18, -17, -18, -19), _play_drum_and_bass),
    ),
)


def compose(song: Song, bars: int | None = None) -> Stems:
    """Return the stems of a song, or of its first `bars`. Their sum, the mix, has no sample above 1."""
    stems = song.play(song, Bars(song, bars or len(song.chords.split())))
    for name, level_db in zip(STEM_NAMES, song.levels_db, strict=True):
        stems[name] *= 10 ** (level_db / 20) / max(1e-9, np.sqrt(np.mean(stems[name] ** 2)))
    return _master(stems)


def mix(stems: Stems) -> Stereo:
    return cast(Stereo, sum(stems.values()))


def _master(stems: Stems) -> Stems:
    """Bring the mix to `_LOUDNESS_DB` and below `_CEILING`, by a gain over time that all stems share."""
    for _ in range(4):
        whole = mix(stems)
        gain = 10 ** (_LOUDNESS_DB / 20) / np.sqrt(np.mean(whole**2))
        size = RATE // 200
        blocks = np.abs(whole * gain).max(axis=0)
        peaks = np.pad(blocks, (0, -blocks.size % size)).reshape(-1, size).max(axis=1)
        limits = np.minimum(1, _CEILING / np.maximum(peaks, _CEILING))
        wide = np.lib.stride_tricks.sliding_window_view(np.pad(limits, 8, mode="edge"), 17).min(axis=1)
        smooth = np.convolve(
            np.pad(wide, 6, mode="edge"), np.hanning(15)[1:-1] / np.hanning(15).sum(), "valid"
        )
        curve = np.interp(np.arange(whole.shape[1]), (np.arange(smooth.size) + 0.5) * size, smooth)
        stems = {name: sound * gain * curve for name, sound in stems.items()}
    return stems


def _write(path: Path, sound: Stereo, codec: str, tags: dict[str, str]) -> None:
    with av.open(str(path), "w") as file:
        file.metadata.update(tags)
        stream = cast(AudioStream, file.add_stream(codec, rate=RATE, layout="stereo"))
        stream.bit_rate = 160_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32), "fltp", "stereo")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(stream.codec_context.format, "stereo", RATE)
        for part in resampler.resample(frame):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stems", type=Path, help="folder for the true stems")
    stems_folder = parser.parse_args().stems
    for song in SONGS:
        stems = compose(song)
        tags = {"title": song.title, "artist": song.performer}
        _write(SONGS_FOLDER / f"{song.name}.mp3", mix(stems), "libmp3lame", tags)
        if stems_folder is not None:
            stems_folder.mkdir(parents=True, exist_ok=True)
            for name, sound in stems.items():
                _write(stems_folder / f"{song.name}.{name}.flac", sound, "flac", tags)


if __name__ == "__main__":
    main()

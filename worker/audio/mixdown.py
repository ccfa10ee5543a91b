"""Renders a remix of stems to one audio file; memory use does not grow with the song's length."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.recipes import Recipe
from stemdrop.domain.song_facts import SongFacts
from worker.audio.blocks import Block
from worker.audio.clicks import Clicks
from worker.audio.formats import NotAudio
from worker.audio.mix_encoder import encode_mix
from worker.audio.mix_input import MixInput
from worker.audio.stem_mixer import mix_stems

try:
    from worker.audio.stretch import stretch
except ImportError:
    from worker.audio.tempo_filter import stretch


def mix_down(
    inputs: Sequence[MixInput],
    recipe: Recipe,
    facts: SongFacts | None,
    target: Path,
    audio_format: AudioFormat,
    on_progress: Callable[[float], None] = lambda _: None,
) -> float:
    """Render the inputs, each with its own gain, by the rest of the recipe; return the length in seconds.

    Writes MP3 or FLAC, without tags. `on_progress` is called for about every second of the song, with a share
    from 0 to 1. Blocking. Raises `NotAudio` if an input cannot be decoded or the mix is empty, and `NoTempo`.
    """
    clicks = Clicks.of(recipe, facts)
    with closing(mix_stems(inputs, on_progress)) as blocks:
        song: Iterator[Block] = blocks
        if recipe.speed != 100 or recipe.semitones:
            song = stretch(song, recipe.speed, recipe.semitones)
        if clicks is not None:
            song = clicks.add_to(song)
        length_s = encode_mix(song, target, audio_format)
    if not length_s:
        raise NotAudio("nothing is to be heard")
    on_progress(1)
    return length_s

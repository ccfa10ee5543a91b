"""Clicks on the beats of a song, before it (count-in) and during it (metronome)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from stemdrop.domain.recipes import Recipe
from stemdrop.domain.song_facts import SongFacts
from stemdrop.errors import StemdropError
from worker.audio.blocks import BLOCK, MIX_RATE, Block

# Clicks of a count-in: two bars of four beats.
_COUNTED = 8
# A first beat that is less than this short of a whole period is taken for the beginning of the song.
_NEARLY_S = 0.05
_CLICK_S = 0.06
_CLICK_HZ = 1600
_CLICK_LEVEL = 0.5


class NoTempo(StemdropError):
    """A count-in or a metronome is ordered, but the song's beats are not known."""


@dataclass(frozen=True, slots=True)
class Clicks:
    """Clicks from sample `first` on, `period` samples apart: `count` of them (`None`: until the end).

    The song begins after `lead` samples. All clicks are alike, since the first beat of a bar is not known.
    """

    lead: int
    first: float
    period: float
    count: int | None

    @classmethod
    def of(cls, recipe: Recipe, facts: SongFacts | None) -> "Clicks | None":
        """Return the clicks of a recipe, `None` if it has none. Raises `NoTempo`."""
        if not recipe.has_count_in and not recipe.has_metronome:
            return None
        if facts is None or not facts.bpm or facts.beat_s is None:
            raise NoTempo("the song's tempo is not known")
        # in samples of the remix, at its speed
        period = 60 / facts.bpm * 100 / recipe.speed * MIX_RATE
        beat = facts.beat_s * 100 / recipe.speed * MIX_RATE % period
        if period - beat < _NEARLY_S * MIX_RATE:
            beat -= period
        if not recipe.has_count_in:
            return cls(0, beat, period, None)
        # the song's first beat is where a ninth click would be
        lead = _COUNTED * period - beat
        return cls(round(lead), 0, period, None if recipe.has_metronome else _COUNTED)

    def add_to(self, song: Iterator[Block]) -> Iterator[Block]:
        """Yield the silence before the song, and then the song, both with the clicks added."""
        silence = (np.zeros((2, min(BLOCK, self.lead - at)), np.float32) for at in range(0, self.lead, BLOCK))
        start = 0
        for block in chain(silence, song):
            self._add(block, start)
            start += block.shape[1]
            yield block

    def _add(self, block: Block, start: int) -> None:
        length = block.shape[1]
        number = max(int((start - _CLICK.size - self.first) / self.period), 0)
        while self.count is None or number < self.count:
            at = max(round(self.first + number * self.period), 0) - start
            if at >= length:
                break
            begin, end = max(at, 0), min(at + _CLICK.size, length)
            if begin < end:
                block[:, begin:end] += _CLICK[begin - at : end - at]
            number += 1


def _click() -> Block:
    time = np.arange(int(_CLICK_S * MIX_RATE)) / MIX_RATE
    rise = np.minimum(time / 0.0005, 1)
    fall = np.exp(-time / 0.012) * (1 - time / _CLICK_S)
    return (_CLICK_LEVEL * rise * fall * np.sin(2 * np.pi * _CLICK_HZ * time)).astype(np.float32)


_CLICK = _click()

"""Decodes stems side by side and adds them up, block by block."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain

import av
import av.error
import numpy as np
from av.container import InputContainer

from stemdrop.domain.recipes import OFF_DB
from stemdrop.services.audio_decoding import decode
from worker.audio.blocks import BLOCK, MIX_RATE, Block, repair
from worker.audio.formats import MAX_AUDIO_S, NotAudio, is_mono, open_audio
from worker.audio.mix_input import MixInput
from worker.cancellable_thread import raise_if_cancelled

_DECODING_ERRORS = (av.error.FFmpegError, ValueError, IndexError)


def mix_stems(inputs: Sequence[MixInput], on_progress: Callable[[float], None]) -> Generator[Block]:
    """Yield blocks of the sum of the audible stems, as long as the longest stem. Raises `NotAudio`.

    `on_progress` is called after each block with the share of the length, from 0 to 1.
    """
    heard = [given for given in inputs if given.gain_db > OFF_DB]
    mixed = 0
    with ExitStack() as files:
        stems = [_Stem(number, given, files) for number, given in enumerate(heard, 1)]
        longest_s = max([stem.duration_s for stem in stems], default=0)
        while True:
            raise_if_cancelled()
            block = np.zeros((2, BLOCK), np.float32)
            added = max([stem.add_to(block) for stem in stems], default=0)
            mixed += added
            if mixed > MAX_AUDIO_S * MIX_RATE:
                raise NotAudio(f"it is longer than {MAX_AUDIO_S} s")
            if added:
                yield block[:, :added]
            on_progress(min(mixed / MIX_RATE / longest_s, 1) if longest_s else 0)
            if added < BLOCK:
                return


class _Stem:
    """The samples of a stem as players play them, without the padding that encoders add at both ends."""

    def __init__(self, number: int, given: MixInput, files: ExitStack) -> None:
        self._number = number
        self._gain = np.float32(10 ** (given.gain_db / 20))
        try:
            container = files.enter_context(open_audio(given.path, given.audio_format))
        except _DECODING_ERRORS as error:
            raise self._not_audio(type(error).__name__) from error
        # the length that the file states, 0 if it states none
        self.duration_s = (container.duration or 0) / av.time_base
        self._frames = _decode(container)
        self._left: Block | None = None  # `None` before the first samples

    def add_to(self, block: Block) -> int:
        """Add the next samples to the block; returns how many: fewer than the block has at the stem's end."""
        filled = 0
        while filled < block.shape[1]:
            if self._left is None or not self._left.shape[1]:
                try:
                    self._left = next(self._frames)
                except StopIteration:
                    if self._left is None:
                        raise self._not_audio("no sound") from None
                    break
                except _DECODING_ERRORS as error:
                    raise self._not_audio(type(error).__name__) from error
            part = self._left[:, : block.shape[1] - filled]
            block[:, filled : filled + part.shape[1]] += part * self._gain
            filled += part.shape[1]
            self._left = self._left[:, part.shape[1] :]
        return filled

    def _not_audio(self, why: str) -> NotAudio:
        return NotAudio(f"stem {self._number}: {why}")  # the error itself names the file


def _decode(container: InputContainer) -> Iterator[Block]:
    # FFmpeg would convert mono to stereo with 3 dB less in each channel
    resampler = av.AudioResampler("fltp", "mono" if is_mono(container) else "stereo", MIX_RATE)
    for frame in chain(decode(container), [None]):
        for part in resampler.resample(frame):
            yield repair(part.to_ndarray())

"""The process that cuts stems into segments: `webhook.mixer.segment_maker` starts it with `python -m`.

It reads orders from standard input, one line of JSON each, and answers with lines on standard output. An
order asks for one segment, so that the webhook decides when a stem goes on, and stems are cut in turn. It
ends when standard input closes, as it does when the webhook ends or is killed.
"""

import json
import os
import queue
import sys
import threading
from array import array
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import av
import av.error

from stemdrop.domain.audio_types import SIGNATURE_BYTES, format_of
from stemdrop.services.audio_decoding import decode
from webhook.mixer.sample_grid import AFTER_END, MAX_SEGMENTS, SEGMENT_RATE, SEGMENT_SAMPLES

_SAMPLE_BYTES = 4  # two channels of 16 bits
_SEGMENT_BYTES = SEGMENT_SAMPLES * _SAMPLE_BYTES
# 10 ms of silence, since browsers decode no empty file.
_AFTER_END = bytes(SEGMENT_RATE // 100 * _SAMPLE_BYTES)
# By default FFmpeg leaves 8 kB in a file for tags that may be added later.
_NO_PADDING = {"metadata_header_padding": "0"}
# Callbacks have priority.
_NICENESS = 10
# The limit of the address space: FFmpeg's idle threads reserve 20 MB for each stem, and use 1 MB of that.
_ADDRESS_BYTES = 4 * 1024**3


class DiskTrouble(Exception):
    """A segment could not be written."""


class Cut:
    """One stem that is being cut; `step` writes its next segment."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._folder = Path(name)
        self._made = 0
        self._segments = _segments(self._folder / "source")

    def step(self) -> bool:
        """Write the next segment and report it. False: the stem has ended, or cannot be cut."""
        try:
            samples = next(self._segments, None)
            if samples is None or self._made == MAX_SEGMENTS:  # a few bytes can decode to hours
                _write(_AFTER_END, self._folder, AFTER_END)
                _report(folder=self._name, end=True)
                return False
            size_bytes = _write(samples, self._folder, f"{self._made}.flac")
        except DiskTrouble as error:
            _report(folder=self._name, failed="disk", why=str(error))
        except MemoryError:  # also FFmpeg's, a subclass
            _report(folder=self._name, failed="memory")
        except (av.error.FFmpegError, ValueError, IndexError, OSError):
            _report(folder=self._name, failed="not_audio")
        else:
            self._made += 1
            _report(folder=self._name, size_bytes=size_bytes)
            return True
        return False


def main() -> None:
    _lower_priority()
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read_orders, args=(orders,), daemon=True).start()
    cuts: dict[str, Cut] = {}
    while True:
        order = orders.get()
        name = order["folder"]
        cut = cuts.pop(name, None) or Cut(name)
        if not order.get("drop") and cut.step():
            cuts[name] = cut


def _segments(source: Path) -> Iterator[bytes]:
    """Yield the samples of each segment: interleaved stereo, 16 bits, 44.1 kHz.

    FFmpeg leaves out the encoder's delay. Raises `ValueError`,
    `IndexError` or FFmpeg's errors for a file without sound that FFmpeg can decode.
    """
    with source.open("rb") as file:
        audio_format = format_of(file.read(SIGNATURE_BYTES))
    if audio_format is None:
        raise ValueError("an unknown format")
    samples = bytearray()
    # with a named format, since FFmpeg would take a playlist for one and open the files that it lists
    with av.open(str(source), format=audio_format.value, metadata_errors="replace") as container:
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise ValueError("a codec that FFmpeg does not have")
        is_mono = stream.codec_context.layout.nb_channels == 1
        # mono is doubled below, since FFmpeg would make it 3 dB quieter as stereo
        resampler = av.AudioResampler("s16", "mono" if is_mono else "stereo", SEGMENT_RATE)
        for frame in chain(decode(container), [None]):
            for part in resampler.resample(frame):
                data = bytes(part.planes[0])[: part.samples * (2 if is_mono else 4)]
                samples += _doubled(data) if is_mono else data
            while len(samples) >= _SEGMENT_BYTES:
                yield bytes(samples[:_SEGMENT_BYTES])
                del samples[:_SEGMENT_BYTES]
    if samples:
        yield bytes(samples)


def _doubled(mono: bytes) -> bytes:
    both = array("h", bytes(2 * len(mono)))
    both[::2] = both[1::2] = array("h", mono)
    return both.tobytes()


def _write(samples: bytes, folder: Path, name: str) -> int:
    """Write a FLAC file, which gets its name when it is complete; return its size in bytes."""
    part, path = folder / "part", folder / name
    try:
        with av.open(str(part), "w", format="flac", container_options=_NO_PADDING) as container:
            stream = container.add_stream("flac", rate=SEGMENT_RATE, layout="stereo", format="s16")
            frame = av.AudioFrame("s16", "stereo", len(samples) // _SAMPLE_BYTES)
            frame.sample_rate = SEGMENT_RATE
            frame.planes[0].update(samples.ljust(frame.planes[0].buffer_size, b"\0"))
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        part.rename(path)
        return path.stat().st_size
    except OSError as error:  # also FFmpeg's errors of files, which are subclasses
        raise DiskTrouble(os.strerror(error.errno or 0)) from error


def _report(**answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _read_orders(orders: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Read orders until standard input closes, then end the process."""
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)


def _lower_priority() -> None:
    """Let callbacks go first, bound the address space, and be the first to be killed when memory is full."""
    os.nice(_NICENESS)
    with suppress(ImportError, OSError, ValueError):  # unsupported on some systems
        import resource  # noqa: PLC0415 - missing on some systems

        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_BYTES, _ADDRESS_BYTES))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")


if __name__ == "__main__":
    main()

"""Puts recordings into other containers without encoding them again."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import av


def remux(
    target: Path,
    container: str,
    *paths: Path,
    start_s: float = 0.0,
    empty_tracks: int = 0,
    options: Mapping[str, str] = {},
) -> Path:
    """Write one track for each source, from `start_s` on; the first `empty_tracks` have no packets."""
    with ExitStack() as stack:
        written = stack.enter_context(av.open(str(target), "w", format=container, options=dict(options)))
        opened = [stack.enter_context(av.open(str(path))) for path in paths]
        tracks = [written.add_stream_from_template(source.streams.audio[0]) for source in opened]
        written.start_encoding()
        for number, (source, track) in enumerate(zip(opened, tracks, strict=True)):
            for packet in source.demux(source.streams.audio[0]):
                if number >= empty_tracks and packet.pts is not None and packet.dts is not None:
                    assert packet.time_base
                    packet.pts += round(start_s / packet.time_base)
                    packet.dts += round(start_s / packet.time_base)
                    packet.stream = track
                    written.mux(packet)
    return target

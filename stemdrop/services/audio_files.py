"""Inspects audio files of unknown origin: their container, and how long they sound."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import cast

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition

from stemdrop.domain.audio_types import SAFE_DEMUXERS, SIGNATURE_BYTES, AudioFormat, format_of

# Broken packets are common at the start of cut files; more than this without a frame are no song.
_MAX_SILENT_PACKETS = 200
# The file is opened again for each track: hundreds of tracks in a small file would take minutes.
_MAX_TRACKS = 16
# A longer step between two packets, or one back, is no sound: another recording begins.
MAX_STEP_S = 60
# The most packets that are read, of all tracks together, which takes seconds: a 2 GB file may hold hundreds
# of millions. One million packets of AAC last 6 hours.
MAX_PACKETS = 1_000_000
# Longer than any song: a few megabytes of silence can last for days.
_MAX_COUNTED_S = 4 * 3600
# Demuxers with one timeline, whose last packet tells the length.
_ONE_TIMELINE = frozenset({"mp3", "flac", "wav"})
# In larger files the last packet is not sought: in an MP3, FFmpeg reads all frame headers to find it.
_MAX_SOUGHT_BYTES = 64 * 1024 * 1024
# If the header and the last packet differ by more in length, all packets are read.
_AGREEMENT_S = 1
# FFmpeg would look for DTS in 5 MB of a WAV file. For other formats its own limit stays.
_WAV_PROBE = {"probesize": "16384"}


@dataclass(frozen=True, slots=True)
class AudioContent:
    """The content of a file. `demuxers` names the container (`matroska,webm`); a cover is no picture."""

    demuxers: str
    has_picture: bool
    duration_s: float


def inspect(path: Path, max_packets: int = MAX_PACKETS) -> AudioContent | None:
    """Return the content of a file by its first track with sound; `None` if there is none. Blocking.

    Only the first frame is decoded. The length comes from the packets' timestamps, since headers and
    estimates by the bit rate are often wrong. All packets are read, unless the last one agrees with the
    header. Packets beyond `max_packets` do not count.
    """
    try:
        tracks, number, budget = 1, 0, iter(range(max_packets))
        if max_packets == MAX_PACKETS and (content := _inspect_ends(path)):
            return content
        while number < tracks:
            with _open(path) as container:
                tracks = min(len(container.streams.audio), _MAX_TRACKS)
                track = container.streams.audio[number] if tracks else None
                if track and (duration_s := _duration(container, track, budget)) is not None:
                    return AudioContent(container.format.name, _has_picture(container), duration_s)
            number += 1
    except (av.error.FFmpegError, ValueError):
        pass
    return None


def probe_options(audio_format: AudioFormat | None) -> dict[str, str]:
    """Return FFmpeg's options for opening a file of this format in little time."""
    return _WAV_PROBE if audio_format is AudioFormat.WAV else {}


def _open(path: Path, **options: str) -> InputContainer:
    options |= {"format_whitelist": SAFE_DEMUXERS, "protocol_whitelist": "file"}
    return av.open(str(path), container_options=options, metadata_errors="replace")


def _inspect_ends(path: Path) -> AudioContent | None:
    """Inspect a file by its first and last packets; `None` if these do not suffice."""
    if not path.is_file() or path.stat().st_size > _MAX_SOUGHT_BYTES:
        return None
    with path.open("rb") as file:
        options = probe_options(format_of(file.read(SIGNATURE_BYTES)))
    with suppress(av.error.FFmpegError), _open(path, **options) as container:
        stated = container.duration or 0
        if container.format.name not in _ONE_TIMELINE or len(container.streams.audio) != 1 or not stated:
            return None
        track = container.streams.audio[0]
        first = _packets_of_first_frame(container.demux(track))
        container.seek(max(0, stated - av.time_base))
        ends = [
            packet.pts + (packet.duration or 0) for packet in container.demux(track) if packet.pts is not None
        ]
        if first and first[0].pts is not None and ends and track.time_base:
            duration_s = float((ends[-1] - max(0, first[0].pts)) * track.time_base)
            if abs(duration_s - stated / av.time_base) < _AGREEMENT_S:
                return AudioContent(container.format.name, _has_picture(container), duration_s)
    return None


def _has_picture(container: InputContainer) -> bool:
    return any(not stream.disposition & Disposition.attached_pic for stream in container.streams.video)


def _duration(container: InputContainer, track: AudioStream, budget: Iterator[int]) -> float | None:
    """Return the track's seconds by its packets' timestamps; `None` if no frame decodes."""
    packets = _packets(container, track, budget)
    first = _packets_of_first_frame(packets)
    if not first or track.time_base is None:
        return None
    tick_s = float(track.time_base)
    longest = round(MAX_STEP_S / tick_s)
    # The timeline of MP4 begins at 0: its edit list may let the sound begin later.
    last, last_duration = (0 if "mp4" in container.format.name else None), 0
    total, enough = 0, round(_MAX_COUNTED_S / tick_s)
    for packet in chain(first, packets):
        if packet.pts is None or packet.is_discard:
            continue
        at = max(0, packet.pts)  # negative: the encoder's delay
        step = -1 if last is None else at - last
        total += step if 0 <= step <= longest else last_duration
        last, duration = at, packet.duration or 0
        last_duration = duration if 0 < duration <= longest else 0
        if total > enough:
            break
    return (total + last_duration) * tick_s


def _packets_of_first_frame(packets: "Iterator[Packet[AudioStream]]") -> "list[Packet[AudioStream]]":
    """Read until a frame decodes and return the packets read; empty if none decodes."""
    read = []
    for packet in islice(packets, _MAX_SILENT_PACKETS + 1):
        read.append(packet)
        with suppress(av.error.FFmpegError):
            if packet.decode():
                return read
    return []


def _packets(
    container: InputContainer, track: AudioStream, budget: Iterator[int]
) -> "Iterator[Packet[AudioStream]]":
    """Yield the packets up to the first that cannot be read: the rest of the file is missing or damaged."""
    with suppress(av.error.FFmpegError):
        for _, packet in zip(budget, container.demux(), strict=False):
            if packet.stream_index == track.index:
                yield cast("Packet[AudioStream]", packet)

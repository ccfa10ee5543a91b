"""Decodes a song once and encodes it as MP3 several times, as a separator must beside its own work."""

import json
import sys
from pathlib import Path

import av


def main() -> None:
    """Read where the song is, and how many files to write into which folder, from standard input."""
    request = json.loads(sys.stdin.readline())
    files = [
        av.open(str(Path(request["folder"], f"{number}.mp3")), "w") for number in range(request["stems"])
    ]
    streams = [file.add_stream("libmp3lame", rate=44100, layout="stereo") for file in files]
    for stream in streams:
        # as the separator encodes
        stream.bit_rate = 256_000
        stream.codec_context.options = {"compression_level": "7", "joint_stereo": "0"}
    resampler, samples = av.AudioResampler("fltp", "stereo", 44100), 0
    with av.open(request["song"]) as song:
        for frame in song.decode(audio=0):
            for part in resampler.resample(frame):
                samples += part.samples
                for file, stream in zip(files, streams, strict=True):
                    file.mux(stream.encode(part))
    for file, stream in zip(files, streams, strict=True):
        file.mux(stream.encode(None))
        file.close()
    sys.stdout.write(json.dumps({"duration_s": samples / 44100}) + "\n")


if __name__ == "__main__":
    main()

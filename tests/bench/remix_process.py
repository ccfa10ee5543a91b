"""Renders one remix on one core, as asked on the command line, and prints what that took."""

import json
import math
import os
import re
import sys
import time
from pathlib import Path

from stemdrop.domain.audio_types import AudioFormat
from stemdrop.domain.recipes import Recipe
from worker.audio.mix_input import MixInput
from worker.audio.mixdown import mix_down


def main() -> None:
    """The same song stands for each of its stems: together they are as loud as the song."""
    request = json.loads(sys.argv[1])
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    song, stems = Path(request["song"]), request["stems"]
    inputs = [MixInput(song, AudioFormat.MP3, -round(20 * math.log10(stems)))] * stems
    started = time.perf_counter()
    target = song.with_name("remix.mp3")
    length_s = mix_down(inputs, Recipe(**request["recipe"]), None, target, AudioFormat.MP3)
    wall_s = time.perf_counter() - started
    # what the system states for a child begins with the memory of its parent
    peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    assert peak
    sys.stdout.write(json.dumps([length_s, wall_s, time.process_time(), int(peak[1]) * 1.024e-3]))


if __name__ == "__main__":
    main()

"""`make demo`: a bundled song goes through the chat in both modes; ends with a table of what came back."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from sandbox.command import DEMO_SONG, FAILURES, length, play, reason, run_until_signal, stem_table
from sandbox.environment.local_environment import LocalEnvironment
from sandbox.play.duration import measure
from sandbox.play.simulated_user import MODES, ReceivedStem

SONG = DEMO_SONG
OUT = Path("demo-out")
# A stem that is not as long as its song would drift from it.
TOLERANCE_S = 0.05


async def _run(console: Console) -> list[ReceivedStem]:
    arrived: list[ReceivedStem] = []
    with tempfile.TemporaryDirectory(prefix="stemdrop-demo-") as folder:
        async with LocalEnvironment(Path(folder), environment=os.environ) as world:
            await world.start("up")
            for mode in MODES:
                arrived += await play(world, console, SONG, mode, OUT / mode)
    return arrived


def main() -> int:
    """Exit code 0 when every stem came, decodes, and is as long as the song."""
    console = Console(highlight=False)
    shutil.rmtree(OUT, ignore_errors=True)
    try:
        arrived = run_until_signal(_run(console))
        console.print(stem_table(arrived))
        length_s = measure(SONG)
        wrong = [stem.title for stem in arrived if abs(length(stem) - length_s) > TOLERANCE_S]
    except KeyboardInterrupt:
        return 130
    except FAILURES as error:
        console.print(f"The demo failed: {reason(error)}", markup=False, soft_wrap=True)
        return 1
    if wrong:
        console.print(f"Not as long as the song ({length_s:.2f} s): {', '.join(wrong)}")
        return 1
    console.print(f"{len(arrived)} stems, each as long as the song ({length_s:.2f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())

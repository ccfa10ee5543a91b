"""`make demo`: a bundled song goes through the chat in both modes; ends with a table of what came back."""

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from sandbox.command import play, stem_table
from sandbox.listening import measure
from sandbox.player import MODES, Arrived, NotDeliveredError
from sandbox.world import World

SONG = Path(__file__).parent / "songs" / "demo-song.mp3"
OUT = Path("demo-out")
# A stem that is not as long as its song would drift from it.
TOLERANCE_S = 0.05


async def _run(console: Console, folder: Path) -> list[Arrived]:
    arrived: list[Arrived] = []
    async with World(folder, environment=os.environ) as world:
        await world.start("up")
        for mode in MODES:
            arrived += await play(world, console, SONG, mode, OUT / mode)
    return arrived


def main() -> int:
    """Exit code 0 when every stem came, decodes, and is as long as the song."""
    console = Console(highlight=False)
    shutil.rmtree(OUT, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="stemdrop-demo-") as folder:
        try:
            arrived = asyncio.run(_run(console, Path(folder)))
        except NotDeliveredError as error:
            console.print(f"The demo failed: {error}")
            return 1
    console.print(stem_table(arrived))
    length_s = measure(SONG)
    wrong = [stem.title for stem in arrived if abs(measure(stem.path) - length_s) > TOLERANCE_S]
    if wrong:
        console.print(f"Not as long as the song ({length_s:.2f} s): {', '.join(wrong)}")
        return 1
    console.print(f"{len(arrived)} stems, each as long as the song ({length_s:.2f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())

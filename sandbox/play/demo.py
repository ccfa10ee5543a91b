"""`make demo`: a simulated user splits the bundled song in both modes; a table lists the stems."""

import os
import re
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from sandbox.command import DEMO_SONG, FAILURES, play, run_until_signal
from sandbox.environment.local_environment import LocalEnvironment
from sandbox.play import trained_model
from sandbox.play.duration import measure
from sandbox.play.quality import sdr_db
from sandbox.play.simulated_user import ReceivedStem
from sandbox.play.terminal_output import plain_console, print_stems, stem_seconds
from separator import engines
from stemdrop import interrupts

OUT = Path("demo-out")
_MODES = ("separate_vocal", "split_stem")
# A larger difference between a stem and its song would be audible as drift.
TOLERANCE_S = 0.05


async def _play_both_modes(console: Console) -> list[ReceivedStem]:
    stems: list[ReceivedStem] = []
    with tempfile.TemporaryDirectory(prefix="stemdrop-demo-") as folder:
        async with LocalEnvironment(Path(folder), environment=os.environ) as environment:
            await environment.start("up")
            for mode in _MODES:
                stems += await play(
                    environment.telegram_url,
                    environment.telegram.access_key,
                    console,
                    DEMO_SONG,
                    mode,
                    OUT / mode,
                )
    return stems


def _print_quality(console: Console, stems: list[ReceivedStem]) -> None:
    """Compare the stems with the true ones of the bundled song, one mode after the other."""
    by_mode: dict[str, list[str]] = {}
    for stem in stems:
        name = re.sub(r".*\((.*)\)", r"\1", stem.title).lower()
        if (ratio := sdr_db(name, stem.path)) is not None:
            by_mode.setdefault(stem.path.parent.name, []).append(f"{name} {ratio:.1f}")
    engine = engines.choose(engines.named_in(os.environ))
    if by_mode:
        figures = "; ".join(f"{mode}: {', '.join(ratios)}" for mode, ratios in by_mode.items())
        console.print(f"Engine {engine}; signal to distortion in dB: {figures}.", soft_wrap=True)


def main() -> int:
    """Return 0 when all stems arrived, decode, and are as long as the song; 130 after Ctrl-C, else 1."""
    interrupts.heed()
    console = plain_console()
    shutil.rmtree(OUT, ignore_errors=True)
    try:
        trained_model.fetch()
        stems = run_until_signal(_play_both_modes(console))
        print_stems(console, stems)
        song_s = measure(DEMO_SONG)
        wrong = [stem.title for stem in stems if abs(stem_seconds(stem) - song_s) > TOLERANCE_S]
    except KeyboardInterrupt:
        return 130
    except FAILURES as error:
        console.print(f"The demo failed: {str(error) or 'timeout'}", soft_wrap=True)
        return 1
    if wrong:
        console.print(f"Not as long as the song ({song_s:.2f} s): {', '.join(wrong)}")
        return 1
    console.print(f"{len(stems)} stems, each as long as the song ({song_s:.2f} s).")
    _print_quality(console, stems)
    return 0

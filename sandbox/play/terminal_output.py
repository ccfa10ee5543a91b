"""The terminal output of a simulated user: the progress, and a table of the stems that arrived."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from av.error import FFmpegError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from sandbox.play.duration import measure
from sandbox.play.simulated_user import NotDeliveredError, ReceivedStem


def plain_console() -> Console:
    """Return a console that prints titles of songs as they are: [live] is no markup, and :cat: no emoji."""
    return Console(highlight=False, markup=False, emoji=False)


def print_stems(console: Console, stems: list[ReceivedStem]) -> None:
    """Print a table of the stems, and below it one unbroken line for each file.

    Raises `NotDeliveredError` for a stem that does not decode.
    """
    table = Table("stem")
    for heading in ("seconds", "kB"):
        table.add_column(heading, no_wrap=True)  # in a narrow terminal only the titles are cut
    for stem in stems:
        title = Text(stem.title, no_wrap=True, overflow="ellipsis")
        table.add_row(title, f"{stem_seconds(stem):.2f}", str(stem.path.stat().st_size // 1000))
    console.print(table)
    for stem in stems:
        console.print(str(stem.path), soft_wrap=True)


def stem_seconds(stem: ReceivedStem) -> float:
    """Return the duration of a stem. Raises `NotDeliveredError` when it does not decode."""
    try:
        return measure(stem.path)
    except (FFmpegError, IndexError) as error:  # IndexError: a file without an audio stream
        raise NotDeliveredError(f"{stem.path} arrived, but does not decode") from error


@contextmanager
def progress_lines(console: Console, title: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows a text: in one changing line on a terminal, else in a line of its own."""
    if not console.is_terminal:
        started = time.monotonic()

        def print_line(text: str) -> None:
            console.print(f"{time.monotonic() - started:6.1f} s  {' '.join(text.split())}", soft_wrap=True)

        console.print(title, soft_wrap=True)
        yield print_line
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title)

        def update(text: str) -> None:
            progress.update(task, description=f"{title}: {' '.join(text.split())[:70]}")

        yield update
        progress.update(task, total=1, completed=1)

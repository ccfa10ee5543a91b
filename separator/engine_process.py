"""The engine's process: reads one order from standard input, writes one answer to standard output, and ends.

Started by `separator.isolation` with `python -m`.
"""

import contextlib
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from separator.audio.formats import FileFormat
from separator.engine import Order
from separator.engines import load
from separator.errors import UnreadableSourceError


def main() -> None:
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _limit_memory(request["memory_bytes"])
    os.nice(5)  # requests to the service come first
    sys.stdout.write(json.dumps(_answer(request)) + "\n")
    sys.stdout.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    order = Order(
        source=Path(request["source"]),
        folder=Path(request["folder"]),
        only=request["only"],
        file_format=FileFormat(request["file_format"]),
        max_duration_s=request["max_duration_s"],
    )
    try:
        result = load(request["engine"]).separate(order)
    except UnreadableSourceError as error:
        return {"unreadable": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"the engine failed ({type(error).__name__})"}
    return {
        "files": {stem: str(file) for stem, file in result.files.items()},
        "duration_s": result.duration_s,
    }


def _die_with_parent() -> None:
    """The parent writes nothing more: when its end of the pipe closes, it is gone and nobody wants the
    result.
    """
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def _limit_memory(size_bytes: int) -> None:
    """Let an allocation fail in here before the system picks a victim, and should it, offer this process."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not every system can
        import resource  # noqa: PLC0415 - missing on some systems

        resource.setrlimit(resource.RLIMIT_AS, (size_bytes, size_bytes))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")


if __name__ == "__main__":
    main()

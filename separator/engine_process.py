"""The engine's process: reads one request from standard input, writes one answer to standard output, exits.

`separator.isolation` starts it with `python -m`.
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
from separator.engine import EngineRequest
from separator.engines import load
from separator.errors import DISK_ERRORS, ModelError, UnreadableSourceError


def main() -> None:
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _limit_memory(request["memory_bytes"])
    os.nice(5)  # HTTP requests have priority
    sys.stdout.write(json.dumps(_answer(request)) + "\n")
    sys.stdout.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    wanted = EngineRequest(
        source=Path(request["source"]),
        folder=Path(request["folder"]),
        only=request["only"],
        file_format=FileFormat(request["file_format"]),
        max_duration_s=request["max_duration_s"],
        max_file_bytes=request["max_file_bytes"],
    )
    try:
        result = load(request["engine"]).separate(wanted)
    except UnreadableSourceError as error:
        return {"unreadable": str(error)}
    except ModelError as error:
        return {"failed": str(error)}
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return {"disk": error.errno}
        traceback.print_exc()
        return {"failed": f"the engine failed ({type(error).__name__})"}
    return {
        "files": {stem: str(file) for stem, file in result.files.items()},
        "duration_s": result.duration_s,
    }


def _exit_with_parent() -> None:
    """Exit when standard input closes, which means that the parent has ended."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def _limit_memory(size_bytes: int) -> None:
    """Let large allocations fail here, and make this process the first choice of the OOM killer."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # unsupported on some systems
        import resource  # noqa: PLC0415 - missing on some systems

        resource.setrlimit(resource.RLIMIT_AS, (size_bytes, size_bytes))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")


if __name__ == "__main__":
    main()

"""The health check of a container: `python -m stemdrop.observability.container_health`.

Each process writes its problems to a file every few seconds; a report that is too old means that the process
hangs or has ended. Uses the standard library only, since Docker starts it every ten seconds.
"""

import faulthandler
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

# Set in the image; without it no report is written.
VARIABLE = "STEMDROP_HEALTH_FILE"
# An older report no longer counts.
OLD_S = 45.0
# A process that hangs for so long prints where it hangs and ends, so that its container is restarted.
HANG_S = 180.0


def write(problems: list[str]) -> None:
    """Report the problems of this process, one sentence each; an empty list means that it is healthy.

    Also restarts the timer that ends a hanging process. A file that cannot be written is left to grow old.
    """
    if not (name := os.environ.get(VARIABLE)):
        return
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    path = Path(name)
    with suppress(OSError):
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps({"at": time.time(), "troubles": problems}), "utf-8")
        temporary.replace(path)


def read(path: Path, now: float) -> str:
    """Return the problems as one line, empty if there are none."""
    try:
        report = json.loads(path.read_text("utf-8"))
        age_s, problems = now - float(report["at"]), [str(text) for text in report["troubles"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "no health report yet"
    if abs(age_s) > OLD_S:
        return f"no health report for {age_s:.0f} s"
    return "; ".join(problems)


def main() -> int:
    """Print the problems; returns exit code 1 if there are any."""
    problems = read(Path(os.environ.get(VARIABLE, "")), time.time())
    print(problems or "healthy")  # noqa: T201 - `docker inspect` shows it
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

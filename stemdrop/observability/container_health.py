"""Whether the stemdrop in this container does its work: its health check,
`python -m stemdrop.observability.container_health`.

A process writes down every few seconds how it is; a process that hangs, or is gone, writes nothing more. Only
the standard library, since it is started again and again.
"""

import faulthandler
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

# Set in the image. Elsewhere nobody asks, and nothing is written.
VARIABLE = "STEMDROP_HEALTH_FILE"
# What was written longer ago than this no longer counts.
OLD_S = 45.0
# A process that hangs for so long ends itself, saying where it hangs: its container is started anew.
HANG_S = 180.0


def write(troubles: list[str]) -> None:
    """Note how this process is: one sentence for everything it cannot do, none while all is well.

    Silent where it cannot be written: then what was there grows old. Who does not come back within three
    minutes hangs, and is ended.
    """
    if not (name := os.environ.get(VARIABLE)):
        return
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    path = Path(name)
    with suppress(OSError):
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps({"at": time.time(), "troubles": troubles}), "utf-8")
        beside.replace(path)


def read(path: Path, now: float) -> str:
    """What is wrong, as one line; empty while all is well."""
    try:
        noted = json.loads(path.read_text("utf-8"))
        age_s, troubles = now - float(noted["at"]), [str(text) for text in noted["troubles"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not yet said how it is"
    if abs(age_s) > OLD_S:
        return f"it has not said for {age_s:.0f} s how it is"
    return "; ".join(troubles)


def main() -> int:
    """Print what is wrong, if anything; 1 then, else 0."""
    trouble = read(Path(os.environ.get(VARIABLE, "")), time.time())
    print(trouble or "well")  # noqa: T201 - `docker inspect` shows it
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())

"""The separator's trained model, fetched once for `make demo` and `make sandbox`."""

import os
import subprocess
import sys

from separator import engines
from separator.models import SPLEETER


def fetch() -> None:
    """Fetch the model unless it is there or ENGINE names an engine; prints a line if it cannot be fetched."""
    if engines.named_in(os.environ) != engines.AUTO or SPLEETER.is_there():
        return
    command = [sys.executable, "-m", "stemdrop", "fetch-model", SPLEETER.name]
    if subprocess.run(command, check=False).returncode:  # noqa: S603
        print("Going on with the light engine, whose stems are of lower quality.")  # noqa: T201


if __name__ == "__main__":
    try:
        fetch()
    except KeyboardInterrupt:  # Ctrl-C has also ended the command that fetches the model
        sys.exit(130)

"""Commands whose process ends with the process that starts it (Linux; elsewhere unchanged)."""

import os
import sys
from collections.abc import Sequence

# Not a `preexec_fn`, which can deadlock in a process with threads. 1 is PR_SET_PDEATHSIG (prctl(2)).
_PROGRAM = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent process has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""


def ends_with_parent(command: Sequence[str]) -> list[str]:
    """Return a command that asks the kernel for SIGTERM at the end of its parent, then runs `command`.

    For the kernel the parent is the thread that forked, not its process.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, str(os.getpid()), *command]

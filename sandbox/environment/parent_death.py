"""Commands whose process ends with the process that starts it (Linux; elsewhere unchanged)."""

import os
import signal
import sys
from collections.abc import Sequence

# Not a `preexec_fn`, which can deadlock in a process with threads. 1 is PR_SET_PDEATHSIG (prctl(2)).
_PROGRAM = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[2]))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent process has ended")
os.execv(sys.argv[3], sys.argv[3:])
"""


def ends_with_parent(command: Sequence[str], number: signal.Signals = signal.SIGTERM) -> list[str]:
    """Return a command that asks the kernel for a signal at the end of its parent, then runs `command`.

    For the kernel the parent is the thread that forked, not its process.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, str(os.getpid()), str(int(number)), *command]

"""Runs a Python program on one core with the same input and output, and prints what it took as another line:
the seconds, the processor seconds and the peak memory in MB."""

import json
import os
import subprocess
import sys
import time


def main() -> None:
    """The command line has the arguments of Python. A peak smaller than this small process's is not seen."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    began = time.perf_counter()
    # the program ends when its standard input does
    process = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(sys.stdin.readline().encode())
    process.stdin.flush()
    answer = process.stdout.read().decode()
    seconds = time.perf_counter() - began
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    sys.stdout.write(answer)
    print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1.024e-3]))  # noqa: T201
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()

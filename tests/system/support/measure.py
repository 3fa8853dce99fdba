# SPDX-License-Identifier: MIT
"""What a command took of memory and CPU."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

# The kernel counts what a process had before it ran the command as the command's own. So a small
# process of its own starts it, not the one that runs all the tests.
LAUNCHER = """
import json, os, resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
os.write(int(sys.argv[1]), json.dumps(
    [code, usage.ru_maxrss, usage.ru_utime + usage.ru_stime]).encode())
"""


@dataclass
class Usage:
    returncode: int
    memory_kib: int  # at its highest
    cpu_seconds: float


def run(argv, **options):
    """Runs it; the options are those of subprocess.Popen()."""
    reading, writing = os.pipe()
    with open(reading, "rb") as report:
        try:
            launcher = subprocess.Popen(
                [sys.executable, "-ISc", LAUNCHER, str(writing), *map(str, argv)],
                stdin=subprocess.DEVNULL, pass_fds=[writing], **options)
        finally:
            os.close(writing)
        with launcher:
            said = report.read()
    return Usage(*json.loads(said))

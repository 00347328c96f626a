"""The most memory that a command takes."""

from __future__ import annotations

import subprocess
import sys

# In a small process of its own: what a child inherits from the process that forks it counts as the child's.
_LAUNCHER = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
if done.returncode:
    sys.exit(done.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(*command: str) -> float:
    """MB of physical memory at the most. Raises CalledProcessError when the command fails."""
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, *command], check=True, stdout=subprocess.PIPE, text=True, timeout=900
    )
    return int(done.stdout) / 1024

"""Downloads source distributions of Python packages with pip, and unpacks them. They are not installed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

from tools.outcome import BuildFailed, Unobtainable

_OUTPUT_CHARACTERS = 2000
_OPTIONS = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")
_SOURCE_ONLY = ("--no-binary", ":all:", "--no-build-isolation")
"""pip prepares the metadata of a source distribution. It uses setuptools and pbr of this environment, so it downloads only one file."""
_NETWORK_FAILURES = (
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "Connection refused",
    "Connection reset by peer",
    "Read timed out",
    "ConnectTimeoutError",
    "ProxyError",
    "NewConnectionError",
)
_OTHER_FAILURES = ("DO NOT MATCH THE HASHES", "No space left on device", "metadata-generation-failed")


def unpack_source(requirements: Path, result: Path, work: Path) -> None:
    """Unpack the source distribution that the file of requirements names with its hash; its top folder becomes `result`.

    Raises:
        Unobtainable: there is no network.
        BuildFailed: the version does not exist, or the file does not have the expected hash.
    """
    target = work / "download"
    argv = [
        sys.executable,
        "-m",
        "pip",
        "download",
        *_OPTIONS,
        *_SOURCE_ONLY,
        "--dest",
        str(target),
        "-r",
        str(requirements),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _failure(done.stderr.strip())
    (archive,) = target.iterdir()
    unpacked = work / "unpacked"
    with tarfile.open(archive) as file:
        file.extractall(unpacked, filter="data")
    (top,) = unpacked.iterdir()
    for path in top.iterdir():
        path.rename(result / path.name)


def _failure(said: str) -> Exception:
    """pip warns of each attempt to reach a server, and finally says only that it knows no such version."""
    lines = [line.strip() for line in said.splitlines() if any(sign in line for sign in _NETWORK_FAILURES)]
    if lines and not any(sign in said for sign in _OTHER_FAILURES):
        return Unobtainable(f"no network: pip: {lines[0]}")
    return BuildFailed(f"pip: {said[-_OUTPUT_CHARACTERS:]}")

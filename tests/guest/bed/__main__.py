"""Run one command, or a shell, in a guest:  python -m tests.guest.bed [-d 6G] [-m 1G] [-s FOLDER] [-e NAME=VALUE] [COMMAND...]"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.guest.bed import guest as guests
from tests.guest.bed import kernel as kernels


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.guest.bed", description=(__doc__ or "").partition(":")[0])
    parser.add_argument(
        "-d", "--disk", action="append", default=[], help="a size for a fresh disk, or a file; again for more"
    )
    parser.add_argument("-m", "--memory", default="1G")
    parser.add_argument("-t", "--timeout", type=float, default=3600)
    parser.add_argument(
        "-s", "--share", action="append", default=[], type=Path, help="a folder that the guest may write to"
    )
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--debian", action="store_true", help="boot Debian 12's own kernel, not the newer one")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def main() -> int:
    asked = _arguments()
    command = [word for word in asked.command if word != "--"] or ["bash", "-i"]
    interactive = not asked.command
    saved = (
        subprocess.run(["stty", "-g"], check=False, capture_output=True, text=True).stdout.strip()
        if interactive
        else ""
    )
    try:
        if saved:
            subprocess.run(["stty", "raw", "-echo"], check=True)
        return guests.run(
            command,
            disks=[Path(disk) if "/" in disk else disk for disk in asked.disk],
            memory=asked.memory,
            timeout=asked.timeout,
            shares=asked.share,
            env=dict(pair.split("=", 1) for pair in asked.env),
            kernel=kernels.debian() if asked.debian else None,
            interactive=interactive,
        )
    except (guests.GuestFailure, kernels.Unavailable) as problem:
        print(problem, file=sys.stderr)
        return 125
    finally:
        if saved:
            subprocess.run(["stty", saved], check=False)


if __name__ == "__main__":
    sys.exit(main())

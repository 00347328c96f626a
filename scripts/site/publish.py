"""Add a version to the documentation on the branch `site`: `python -m scripts.site.publish 1.2`. The highest version is `latest`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent


def main(version: str) -> int:
    if not re.fullmatch(r"\d+\.\d+", version):
        print(
            f"the version must be MAJOR.MINOR, as in `make site-version VERSION=1.2` (got {version!r})", file=sys.stderr
        )
        return 2
    _mike("deploy", version)
    published = [str(entry["version"]) for entry in json.loads(_mike("list", "--json"))]
    _mike("alias", "--update-aliases", max(published, key=_order), "latest")
    _mike("set-default", "latest")
    return 0


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _mike(command: str, *arguments: str) -> str:
    """Run a command of mike on the branch and return its output. mike calls mkdocs by its name."""
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PATH": f"{BIN}:{os.environ['PATH']}"}
    words = [str(BIN / "mike"), command, "--branch", "site", *arguments]
    return subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

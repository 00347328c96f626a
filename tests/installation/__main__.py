"""Install what the tests of this folder need into the cache: the locked packages, for each Python of this machine."""

from __future__ import annotations

import subprocess
import sys

from tests.installation import environments


def main() -> int:
    for version in environments.versions():
        python = environments.interpreter(version)
        if python is None:
            continue
        for requirements in environments.SETS:
            try:
                environments.prepare(python, version, requirements)
            except subprocess.CalledProcessError as error:
                print(
                    f"installation: cannot install {requirements}.txt for Python {version}: {error.stderr.strip()[-1000:]}"
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Sessions of `csi-cinderlib convert`: each is a file with the command, what it prints, and its exit code.

`python -m tests.component.conversion.session` writes them anew; read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from csi_cinderlib import cli

FOLDER = Path(__file__).with_name("sessions")
COMMANDS: dict[str, str] = {
    "cinder-to-config": "convert cinder.conf",
    "cinder-to-secret": "convert cinder.conf --to secret",
    "cinder-directory": "convert split",
    "cinder-before-enabled-backends": "convert old.conf",
    "cinder-report": "convert split --to secret --report json",
    "cinderlib-to-config": "convert cinderlib.yaml",
    "cinderlib-of-ovirt": "convert ovirt.json --to objects --name rbd",
    "ember-environment": "convert ember.env",
    "ember-environment-to-secret": "convert ember.env --to secret",
    "ember-manifest": "convert ember-manifest.yaml --to objects",
    "ember-custom-resource": "convert ember-custom-resource.yaml",
    "nothing": "convert",
    "no-such-file": "convert nowhere.conf",
}
"""By the name of the session's file."""


def run(command: str) -> str:
    """The session as text."""
    out, errors = io.StringIO(), io.StringIO()
    before = Path.cwd()
    os.chdir(FOLDER)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = cli.main(command.split())
    finally:
        os.chdir(before)
    return f"$ csi-cinderlib {command}\n{out.getvalue()}--- standard error\n{errors.getvalue()}--- exit code {code}\n"


def main() -> None:
    for name, command in COMMANDS.items():
        (FOLDER / f"{name}.txt").write_text(run(command))


if __name__ == "__main__":
    main()

"""Convert the back ends of a cinder.conf to Python code that sets them up.

    python -m csi_cinderlib.cinderlib.cmd.cinder_cfg_to_python [CINDER_CONF [OUTPUT]]

By default it reads /etc/cinder/cinder.conf and writes to standard output.
"""

from __future__ import annotations

import re
import sys

from csi_cinderlib.cinderlib.cmd import cinder_to_yaml

_SOURCE = "/etc/cinder/cinder.conf"
_OUTPUT = "/dev/stdout"


def convert(source: str, dest: str) -> None:
    """Write the code. Raises the errors of `cinder_to_yaml.convert`."""
    backends = cinder_to_yaml.convert(source)["backends"]
    parts = ["import csi_cinderlib.cinderlib as cl"]
    for backend in backends:
        arguments = ", ".join(f"{name}={value!r}" for name, value in backend.items())
        parts.append(f"{_variable(backend['volume_backend_name'])} = cl.Backend({arguments})")
    cinder_to_yaml.write(dest, "\n\n".join(parts) + "\n")


def _variable(name: str) -> str:
    """A Python name for a back end."""
    return re.sub(r"\W|^(?=\d)", "_", name)


def main() -> None:
    """Read the arguments of the command line."""
    source, dest = [*sys.argv[1:3], *(_SOURCE, _OUTPUT)[len(sys.argv[1:3]) :]]
    convert(source, dest)


if __name__ == "__main__":
    main()

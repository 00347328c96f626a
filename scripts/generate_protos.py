"""Generate `csi_cinderlib/csi/v1` from `proto/`: messages, gRPC stubs and their types.

    python scripts/generate_protos.py [OUTPUT_ROOT]

The files are found under the virtual directory of the package that they become, so that the generated imports are right
as they are and the descriptors' names are this package's own.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "csi_cinderlib/csi/v1"
SOURCES = {"csi.proto": "proto/csi/v1", "pluginregistration.proto": "proto/pluginregistration/v1"}


def generate(output: Path) -> None:
    """Write the stubs below `output`, which becomes the parent of `csi_cinderlib`."""
    target = output / PACKAGE
    target.mkdir(parents=True, exist_ok=True)
    arguments = [
        "protoc",
        f"-I{files('grpc_tools') / '_proto'}",
        *(f"-I{PACKAGE}={ROOT / folder}" for folder in SOURCES.values()),
        f"--plugin=protoc-gen-mypy={_plugin('protoc-gen-mypy')}",
        f"--plugin=protoc-gen-mypy_grpc={_plugin('protoc-gen-mypy_grpc')}",
        *(f"--{kind}_out={output}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")),
        *(f"{PACKAGE}/{name}" for name in SOURCES),
    ]
    if code := protoc.main(arguments):
        raise SystemExit(code)
    (target / "__init__.py").write_text(
        '"""Generated from `proto/` by `make proto`; do not edit."""\n'
    )


def _plugin(name: str) -> str:
    """A protoc plugin of this very Python environment, whatever PATH says."""
    path = shutil.which(name, path=sysconfig.get_path("scripts"))
    if path is None:
        raise SystemExit(f"{name} is not installed: the development requirements have it (mypy-protobuf)")
    return path


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)

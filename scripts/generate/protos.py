"""The gRPC stubs in `csi_cinderlib/csi/v1`, from `proto/`: messages, services and their types.

protoc finds the sources under the virtual directory of the package that they become, so that the generated imports need
no editing and the descriptors' names are this package's own.
"""

from __future__ import annotations

import shutil
import sysconfig
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from grpc_tools import protoc

from scripts.generate.output import ROOT, Output

PACKAGE = "csi_cinderlib/csi/v1"
SOURCES = {"csi.proto": "proto/csi/v1", "pluginregistration.proto": "proto/pluginregistration/v1"}
INIT = '"""Generated from `proto/` by `make proto`; do not edit."""\n'


def output() -> Output:
    with TemporaryDirectory() as folder:
        _run_protoc(Path(folder))
        stubs = {f"{PACKAGE}/{path.name}": path.read_text() for path in (Path(folder) / PACKAGE).iterdir()}
    return Output({f"{PACKAGE}/__init__.py": INIT, **stubs}, owned=(f"{PACKAGE}/*",))


def _run_protoc(folder: Path) -> None:
    arguments = [
        "protoc",
        f"-I{files('grpc_tools') / '_proto'}",
        *(f"-I{PACKAGE}={ROOT / source}" for source in SOURCES.values()),
        f"--plugin=protoc-gen-mypy={_plugin('protoc-gen-mypy')}",
        f"--plugin=protoc-gen-mypy_grpc={_plugin('protoc-gen-mypy_grpc')}",
        *(f"--{kind}_out={folder}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")),
        *(f"{PACKAGE}/{name}" for name in SOURCES),
    ]
    if code := protoc.main(arguments):
        raise SystemExit(code)


def _plugin(name: str) -> str:
    """A protoc plugin of this Python environment, regardless of PATH."""
    path = shutil.which(name, path=sysconfig.get_path("scripts"))
    if path is None:
        raise SystemExit(f"{name} is not installed; the development requirements contain it (mypy-protobuf)")
    return path

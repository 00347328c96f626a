"""The tools, their sources, and their folders in the cache."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = ROOT / "tools" / "modules"
DEBIAN = ROOT / "tools" / "debian"
SOURCES = ROOT / "tools" / "sources"

_REQUIREMENT = re.compile(r"^(?:require )?\t?(\S+) (v\S+)(?: // indirect)?$", re.MULTILINE)
_GO = re.compile(r"^go (\d+)\.(\d+)", re.MULTILINE)


def cache() -> Path:
    """The folder for everything that takes long to build. It is outside the tree, and all trees of a user share it."""
    return Path(os.environ.get("CINDERLIB_CACHE") or Path.home() / ".cache" / "csi-cinderlib")


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A static program, compiled from the Go module that tools/modules/MODULE/go.mod locks.

    Attributes:
        package: the import path of its main package, which the go.mod names as a tool.
        ldflags: more flags for the linker; `{version}` and `{minor}` stand for the module's version.
    """

    name: str
    module: str
    package: str
    ldflags: str = ""

    @property
    def version(self) -> str:
        return _version(self.module, self.package)

    @property
    def folder(self) -> Path:
        return _folder(self.name, self.version, self.package, self.ldflags, *_contents(MODULES / self.module))

    @property
    def linker_flags(self) -> str:
        minor = self.version.split(".")[1] if self.version else ""
        return f"-s -w {self.ldflags}".format(version=self.version, minor=minor).strip()


@dataclass(frozen=True, slots=True)
class GoFiles:
    """Files of a Go module that is not compiled: a specification, definitions.

    Attributes:
        path: of the module that holds them.
        pattern: which files are taken, below the module.
    """

    name: str
    module: str
    path: str
    pattern: str

    @property
    def version(self) -> str:
        return _version(self.module, self.path)

    @property
    def folder(self) -> Path:
        return _folder(self.name, self.version, self.path, self.pattern, *_contents(MODULES / self.module))


@dataclass(frozen=True, slots=True)
class DebianFiles:
    """Packages of Debian's development suite, unpacked by tools/debian/NAME. The suite has one version of each, its newest.

    Attributes:
        is_movable: False when the files name their own folder, so that a copied or moved cache cannot use them.
    """

    name: str
    version: str = ""
    is_movable: bool = True

    @property
    def script(self) -> Path:
        return DEBIAN / self.name

    @property
    def folder(self) -> Path:
        place = () if self.is_movable else (str(cache().resolve()),)
        return _folder(self.name, "", *_contents(DEBIAN, self.name, "unpack"), *place)


@dataclass(frozen=True, slots=True)
class PythonSource:
    """The unpacked source distribution of a Python package, which tools/sources/NAME.txt locks. It is not installed."""

    name: str

    @property
    def requirements(self) -> Path:
        return SOURCES / f"{self.name}.txt"

    @property
    def version(self) -> str:
        return self.requirements.read_text().split()[0].partition("==")[2]

    @property
    def folder(self) -> Path:
        return _folder(self.name, self.version, self.requirements.read_text())


Tool = GoProgram | GoFiles | DebianFiles | PythonSource


def _version(module: str, package: str) -> str:
    """Of the required module that holds the package; "" when the package is the module itself."""
    found = dict(_REQUIREMENT.findall((MODULES / module / "go.mod").read_text()))
    holders = [path for path in found if f"{package}/".startswith(f"{path}/")]
    return found[max(holders, key=len)] if holders else ""


def _contents(folder: Path, *names: str) -> list[str]:
    return [path.read_text() for path in sorted(folder.iterdir()) if not names or path.name in names]


def _folder(name: str, version: str, *ingredients: str) -> Path:
    """The name contains a digest of all inputs, so a changed input results in a different folder."""
    digest = hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:12]
    return cache() / "tools" / "-".join(filter(None, (name, version, digest)))


def go_version() -> tuple[int, int]:
    """The oldest Go version that compiles all of them."""
    texts = [path.read_text() for path in MODULES.glob("*/go.mod")]
    return max((int(found[1]), int(found[2])) for text in texts if (found := _GO.search(text)))


_KUBERNETES_FLAGS = (
    "-X k8s.io/component-base/version.gitVersion={version} -X k8s.io/component-base/version.gitMajor=1 "
    "-X k8s.io/component-base/version.gitMinor={minor} -X k8s.io/client-go/pkg/version.gitVersion={version}"
)
_HELM_FLAGS = (
    "-X helm.sh/helm/v4/pkg/chart/common.k8sVersionMajor=1 -X helm.sh/helm/v4/pkg/chart/common.k8sVersionMinor=35"
)
"""Without them helm assumes an old cluster, and refuses charts that require a newer one."""


def _kubernetes(name: str) -> GoProgram:
    return GoProgram(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", _KUBERNETES_FLAGS)


def _sidecar(name: str, repository: str, major: int) -> GoProgram:
    package = f"github.com/kubernetes-csi/{repository}/v{major}/cmd/{name}"
    return GoProgram(name, repository, package, "-X main.version={version}")


_SNAPSHOT_CLIENT = "github.com/kubernetes-csi/external-snapshotter/client/v8"

_TEST: tuple[Tool, ...] = (
    PythonSource("cinderlib"),
    GoFiles("csi-specification", "csi-specification", "github.com/container-storage-interface/spec", "csi.proto"),
    GoFiles("snapshot-definitions", "snapshot-definitions", _SNAPSHOT_CLIENT, "config/crd/snapshot.storage*.yaml"),
    GoProgram("csi-sanity", "csi-sanity", "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"),
    GoProgram("actionlint", "actionlint", "github.com/rhysd/actionlint/cmd/actionlint"),
    GoProgram("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    _kubernetes("kube-apiserver"),
    _kubernetes("kubectl"),
    GoProgram("helm", "helm", "helm.sh/helm/v4/cmd/helm", _HELM_FLAGS),
    DebianFiles("guest-kernel", is_movable=False),
    DebianFiles("mysql-server"),
)
_CLUSTER_TEST: tuple[Tool, ...] = (
    PythonSource("cinderlib"),
    *_TEST,
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kubelet"),
    _kubernetes("kube-proxy"),
    _sidecar("csi-provisioner", "external-provisioner", 6),
    _sidecar("csi-attacher", "external-attacher", 4),
    _sidecar("csi-resizer", "external-resizer", 2),
    _sidecar("csi-snapshotter", "external-snapshotter", 8),
    _sidecar("snapshot-controller", "external-snapshotter", 8),
    GoProgram("pause", "pause", "csi-cinderlib/tools/pause"),
)
SETS: Mapping[str, tuple[Tool, ...]] = {"test": _TEST, "cluster-test": _CLUSTER_TEST}
"""The tools of each make target, in build order: quick downloads first."""

TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in _CLUSTER_TEST}

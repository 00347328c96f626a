"""Builds etcd, Kubernetes and the official CSI sidecars from their Go modules, once a version, outside the tree.

`ensure("etcd", "kube-apiserver")` answers the folder that holds them. Cold on two cores: Kubernetes four minutes, etcd 20 s, each
sidecar up to two minutes (each brings its own client-go); afterwards nothing at all. Run as a module to build ahead of a test:
`python -m tests.cluster.bed.programs [PROGRAM ...]`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KUBERNETES = "1.35.4"
ETCD = "3.6.14"
GO_VERSION = (1, 25)

_STAGING = """api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap
code-generator component-base component-helpers controller-manager cri-api cri-client csi-translation-lib
dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy kube-scheduler
kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin sample-controller""".split()


class CannotBuild(Exception):
    """These programs cannot be had on this machine; the message says why."""


@dataclass(frozen=True)
class Module:
    """A Go module and the programs made from it, each by its package's path below the module ("" is the root)."""

    path: str
    version: str
    programs: Mapping[str, str]
    go_mod: Callable[[Module], str]
    ldflags: str = "-s -w"


def _kubernetes_go_mod(module: Module) -> str:
    """k8s.io/kubernetes replaces its own staging modules by folders; here by the published ones of the same release."""
    minor = module.version.removeprefix("v1.")
    replaced = "".join(f"replace k8s.io/{name} => k8s.io/{name} v0.{minor}\n" for name in _STAGING)
    return f"module build\ngo 1.25.0\nrequire {module.path} {module.version}\n{replaced}"


def _etcd_go_mod(module: Module) -> str:
    parts = ("server", "api", "client", "client/pkg", "pkg")
    return "module build\ngo 1.25.0\n" + "".join(
        f"require go.etcd.io/etcd/{part}/v3 {module.version}\n" for part in parts
    )


def _sidecar_go_mod(module: Module) -> str:
    """`go install` refuses a module with replace lines, so a module of our own repeats them."""
    found = json.loads(_go("mod", "download", "-json", f"{module.path}@{module.version}", cwd=Path("/")))
    lines = (Path(found["Dir"]) / "go.mod").read_text().splitlines()
    client = f"=> github.com/kubernetes-csi/external-snapshotter/client/v8 {module.version}"
    kept = [line.replace("=> ./client", client) for line in lines if line.startswith(("go ", "replace "))]
    return "\n".join(["module build", f"require {module.path} {module.version}", *kept, ""])


def _sidecar(name: str, version: str, *programs: str) -> Module:
    return Module(
        path=f"github.com/kubernetes-csi/{name}",
        version=version,
        programs={program: f"cmd/{program}" for program in programs},
        go_mod=_sidecar_go_mod,
        ldflags=f"-s -w -X main.version={version}",
    )


_KUBE_MINOR = KUBERNETES.split(".")[1]
MODULES = (
    Module(
        path="k8s.io/kubernetes",
        version=f"v{KUBERNETES}",
        programs={
            name: f"cmd/{name}"
            for name in (
                "kube-apiserver",
                "kubectl",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
            )
        },
        go_mod=_kubernetes_go_mod,
        ldflags=f"-s -w -X k8s.io/component-base/version.gitVersion=v{KUBERNETES} "
        f"-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor={_KUBE_MINOR} "
        f"-X k8s.io/client-go/pkg/version.gitVersion=v{KUBERNETES}",
    ),
    Module(path="go.etcd.io/etcd/server/v3", version=f"v{ETCD}", programs={"etcd": ""}, go_mod=_etcd_go_mod),
    _sidecar("external-provisioner/v6", "v6.4.0", "csi-provisioner"),
    _sidecar("external-attacher/v4", "v4.13.0", "csi-attacher"),
    _sidecar("external-resizer/v2", "v2.3.0", "csi-resizer"),
    _sidecar("external-snapshotter/v8", "v8.7.0", "csi-snapshotter", "snapshot-controller"),
)


def cache() -> Path:
    return Path(os.environ.get("CINDERLIB_CACHE") or Path.home() / ".cache" / "csi-cinderlib")


def ensure(*programs: str) -> Path:
    """The folder with these programs, built first where they are missing.

    Raises:
        CannotBuild: no Go, or it is too old, or the build failed (with the end of its output).
    """
    folder = cache() / f"kubernetes-{KUBERNETES}-etcd-{ETCD}"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        for module in MODULES:
            missing = [name for name in module.programs if name in programs and not (folder / name).exists()]
            if missing:
                print(f"building {', '.join(missing)} {module.version} (once; minutes)", file=sys.stderr, flush=True)
                _build(module, missing, folder)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(module: Module, programs: list[str], folder: Path) -> None:
    _check_go()
    with tempfile.TemporaryDirectory(prefix="csi-cinderlib-go-") as scratch:
        work = Path(scratch)
        packages = {name: "/".join(filter(None, (module.path, module.programs[name]))) for name in programs}
        imports = "".join(f'import _ "{package}"\n' for package in packages.values())
        (work / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\n{imports}")
        (work / "go.mod").write_text(module.go_mod(module))
        _go("mod", "tidy", "-e", cwd=work)
        for name, package in packages.items():
            _go("build", "-trimpath", "-ldflags", module.ldflags, "-o", str(work / name), package, cwd=work)
            shutil.move(work / name, folder / f".{name}.new")
            (folder / f".{name}.new").rename(folder / name)


def _check_go() -> None:
    if shutil.which("go") is None:
        raise CannotBuild("there is no `go` on the PATH")
    text = _go("env", "GOVERSION", cwd=Path("/")).strip().removeprefix("go")
    if tuple(int(part) for part in text.split(".")[:2]) < GO_VERSION:
        raise CannotBuild(f"Go {text} is too old: {'.'.join(map(str, GO_VERSION))} or later is needed")


def _go(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        ["go", *arguments], cwd=cwd, env={**os.environ, "CGO_ENABLED": "0"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotBuild(f"`go {' '.join(arguments[:2])}` failed: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    print(ensure(*(sys.argv[1:] or [name for module in MODULES for name in module.programs])))

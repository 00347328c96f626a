"""Images without a registry: our own from its Dockerfile by buildah on a debootstrap base, the sidecars packed as they are.

Everything is cached under the same folder as the programs. The machine's own pip and apt settings are mounted into the build,
read-only, and never copied into the image.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.cluster.bed import programs
from tests.cluster.bed.inside import PAUSE_IMAGE

ROOT = Path(__file__).parents[3]
BASE = "docker.io/library/debian:bookworm-slim"
OWN = {role: f"registry.local/csi-cinderlib-{role}:test" for role in ("controller", "node")}
SIDECARS = {
    name: f"registry.local/{name}:test"
    for name in ("csi-provisioner", "csi-attacher", "csi-resizer", "csi-snapshotter", "snapshot-controller")
}
_PAUSE = """package main

import ("os"; "os/signal"; "syscall")

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
"""
_AUTHORITIES = "/run/build-authorities.crt"
"""Where the build sees this machine's certificate authorities: the image's own must stay as its packages make them."""
_DOCKER_CLEAN = """Acquire::Languages "none";
"""
_NO_DOCS = "path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n"


class CannotBuildImage(Exception):
    """An image cannot be made on this machine; the message says why."""


def own(role: str) -> Path:
    """A docker archive of our image of that role."""
    return _pushed(built(OWN[role], role), programs.cache() / f"image-{role}.tar")


def built(tag: str, role: str, **build_arguments: str) -> str:
    """Build the tree's Dockerfile; layers that did not change are reused. Answers the tag."""
    _base()
    arguments: list[str] = ["--target", role, "--layers", "--pull-never", "--isolation", "chroot", "--network", "host"]
    for name, value in build_arguments.items():
        arguments += ["--build-arg", f"{name}={value}"]
    _buildah("bud", *arguments, *_package_settings(), "-t", tag, "-f", str(ROOT / "Dockerfile"), str(ROOT))
    return tag


def ran(tag: str, *argv: str) -> str:
    """What a program of the image prints. Raises CannotBuildImage, with its last words, when it fails."""
    container = _buildah("from", "--pull-never", tag).strip()
    try:
        return _buildah("run", "--isolation", "chroot", container, "--", *argv)
    finally:
        _buildah("rm", container)
        _unmount_storage()


def sidecar(name: str) -> Path:
    """A docker archive with that static program as its entry point."""
    folder = programs.ensure(name)
    return pack(folder / f"{name}.tar", SIDECARS[name], folder / name)


def pause() -> Path:
    """A docker archive of the image that holds a pod's namespaces."""
    folder = programs.cache() / "pause"
    if not (folder / "pause").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "main.go").write_text(_PAUSE)
        environment = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off"}
        argv = ["go", "build", "-ldflags", "-s -w", "-o", "pause", "main.go"]
        subprocess.run(argv, cwd=folder, env=environment, check=True)
    return pack(folder / "pause.tar", PAUSE_IMAGE, folder / "pause")


def workload() -> Path:
    """A docker archive of the base image, whose shell and tools the test pods run."""
    _base()
    return _pushed(BASE, programs.cache() / "image-base.tar")


def pack(archive: Path, name: str, program: Path) -> Path:
    """Write a docker archive with one layer that holds one program."""
    if archive.exists() and archive.stat().st_mtime >= program.stat().st_mtime:
        return archive
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(program, f"/{program.name}")
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for path, data in (
            ("layer.tar", layer.getvalue()),
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return archive


def size(tag: str) -> int:
    """Bytes of an image, unpacked."""
    sizes = json.loads(_buildah("images", "--json", tag))
    return _bytes(str(sizes[0]["size"]))


def _bytes(text: str) -> int:
    number, unit = text.split()
    return int(float(number) * {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}[unit.upper()])


def _base() -> None:
    """The base image, under the name that FROM uses, from the distribution's own packages (40 s, once)."""
    if BASE in _buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        return
    for tool in ("buildah", "debootstrap"):
        if shutil.which(tool) is None:
            raise CannotBuildImage(f"Debian package {tool} is missing")
    with tempfile.TemporaryDirectory(prefix="csi-cinderlib-base-") as scratch:
        tree = Path(scratch) / "root"
        _run("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(tree), _mirror())
        (tree / "etc/apt/sources.list").unlink(missing_ok=True)
        (tree / "etc/apt/apt.conf.d/docker-clean").write_text(_DOCKER_CLEAN)
        (tree / "etc/dpkg/dpkg.cfg.d/docker").write_text(_NO_DOCS)
        for waste in ("var/lib/apt/lists", "var/cache/apt", "usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(tree / waste, ignore_errors=True)
            (tree / waste).mkdir(parents=True)
        container = _buildah("from", "scratch").strip()
        try:
            _buildah("add", container, str(tree), "/")
            _buildah("config", "--cmd", "bash", container)
            _buildah("commit", container, BASE)
        finally:
            _buildah("rm", container)


def _mirror() -> str:
    """Where this machine's own apt gets Debian from."""
    for line in Path("/etc/apt/sources.list.d/debian.sources").read_text().splitlines():
        if line.startswith("URIs:"):
            return line.split()[1]
    raise CannotBuildImage("/etc/apt/sources.list.d/debian.sources names no mirror")


def _package_settings() -> list[str]:
    """Mounts that let pip and apt in the build fetch from where this machine fetches, trusting whom it trusts."""
    settings = programs.cache() / "pip.conf"
    found = _run(sys.executable, "-m", "pip", "config", "list")
    options = dict(line.split("=", 1) for line in found.splitlines() if line.startswith("global."))
    options["global.cert"] = f"'{_AUTHORITIES}'"
    lines = [f"{name.removeprefix('global.')} = {value.strip(chr(39))}" for name, value in options.items()]
    settings.write_text("\n".join(["[global]", *lines, ""]))
    mounted = {Path("/etc/ssl/certs/ca-certificates.crt"): _AUTHORITIES, settings: "/etc/pip.conf"}
    for path in (Path("/etc/apt/sources.list.d"), *sorted(Path("/etc/apt/apt.conf.d").glob("9*"))):
        mounted[path] = str(path)
    return [argument for path, inside in mounted.items() if path.exists() for argument in ("-v", f"{path}:{inside}:ro")]


def _pushed(tag: str, archive: Path) -> Path:
    archive.unlink(missing_ok=True)
    _buildah("push", tag, f"docker-archive:{archive}:{tag}")
    _unmount_storage()
    return archive


def _unmount_storage() -> None:
    """buildah leaves it mounted on itself."""
    subprocess.run(["umount", str(_storage() / "overlay")], check=False, capture_output=True)


def _storage() -> Path:
    return programs.cache() / "images"


def _buildah(*arguments: str) -> str:
    storage = _storage()
    storage.mkdir(parents=True, exist_ok=True)
    return _run(
        "buildah", "--root", str(storage), "--runroot", f"{storage}-run", "--storage-driver", "overlay", *arguments
    )


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout[-1500:] + done.stderr[-2500:]).strip()
        raise CannotBuildImage(f"`{' '.join(argv[:8])}` failed: {said}")
    return done.stdout

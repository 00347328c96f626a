"""Images without a registry: our own from its Dockerfile by buildah on a debootstrap base, the sidecars packed as they are.

`python -m tests.cluster.bed.images` builds them before the first test of `make cluster-test`; the tests only use them. Everything is
cached under the same folder as the tools. The machine's own pip and apt settings are mounted into the build, read-only, and never
copied into the image.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.cluster.bed.inside import PAUSE_IMAGE
from tools import lookup
from tools.catalogue import cache

ROOT = Path(__file__).parents[3]
BASE = "docker.io/library/debian:bookworm-slim"
OWN = {role: f"registry.local/csi-cinderlib-{role}:test" for role in ("controller", "node")}
SIDECARS = {
    name: f"registry.local/{name}:test"
    for name in ("csi-provisioner", "csi-attacher", "csi-resizer", "csi-snapshotter")
}
EXTENDED = f"{OWN['controller']}-with-libraries"
"""Our controller with a driver's libraries, as docs/how-to/build-images.md describes it."""
_EXTENSION = {"DRIVER_LIBRARIES": "python-linstor", "DRIVER_PACKAGES": "python3-rados python3-rbd"}
_AUTHORITIES = "/run/build-authorities.crt"
"""Where the build sees this machine's certificate authorities: the image's own must stay as its packages make them."""
_DOCKER_CLEAN = """Acquire::Languages "none";
"""
_NO_DOCS = "path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n"


class CannotBuildImage(Exception):
    """An image cannot be made on this machine; the message says why."""


def build() -> None:
    """Build what is missing or has changed, with a line for each image. Raises CannotBuildImage, Missing."""
    steps: Mapping[str, Callable[[], object]] = {
        "base": _base,
        **{role: partial(_built, tag, role) for role, tag in OWN.items()},
        "controller with a driver's libraries": partial(_built, EXTENDED, "controller", **_EXTENSION),
        "archives": _write_archives,
    }
    for name, step in steps.items():
        started = time.monotonic()
        step()
        print(f"images: {name}: {time.monotonic() - started:.0f} s", flush=True)


def archives() -> list[Path]:
    """A docker archive of each image that the cluster runs. Raises NotBuilt."""
    found = [_archive(name) for name in _PUSHED.values()] + [_archive(name) for name in _PACKED]
    if missing := [str(path) for path in found if not path.exists()]:
        raise lookup.NotBuilt(f"not built: {', '.join(missing)}: run `make cluster-test`")
    return found


_PUSHED = {BASE: "base", **{tag: role for role, tag in OWN.items()}}
"""Tags in buildah's storage, and the name of the archive of each. The base's shell and tools are what the test pods run."""
_PACKED = {"pause": PAUSE_IMAGE, **SIDECARS}
"""Static programs that are the whole of an image, and its name; the first holds a pod's namespaces."""


def _archive(name: str) -> Path:
    return cache() / f"image-{name}.tar"


def _write_archives() -> None:
    for tag, name in _PUSHED.items():
        _push(tag, _archive(name))
    for name, tag in _PACKED.items():
        pack(_archive(name), tag, lookup.program(name))


def _built(tag: str, role: str, **build_arguments: str) -> None:
    """Build the tree's Dockerfile; layers that did not change are reused."""
    arguments: list[str] = ["--target", role, "--layers", "--pull-never", "--isolation", "chroot", "--network", "host"]
    for name, value in build_arguments.items():
        arguments += ["--build-arg", f"{name}={value}"]
    _buildah("bud", *arguments, *_package_settings(), "-t", tag, "-f", str(ROOT / "Dockerfile"), str(ROOT))


def ran(tag: str, *argv: str) -> str:
    """What a program of the image prints. Raises CannotBuildImage, with its last words, when it fails."""
    container = _buildah("from", "--pull-never", tag).strip()
    try:
        return _buildah("run", "--isolation", "chroot", container, "--", *argv)
    finally:
        _buildah("rm", container)
        _unmount_storage()


def pack(archive: Path, name: str, program: Path) -> None:
    """Write a docker archive with one layer that holds one program."""
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
    settings = cache() / "pip.conf"
    found = _run(sys.executable, "-m", "pip", "config", "list")
    options = dict(line.split("=", 1) for line in found.splitlines() if line.startswith("global."))
    options["global.cert"] = f"'{_AUTHORITIES}'"
    lines = [f"{name.removeprefix('global.')} = {value.strip(chr(39))}" for name, value in options.items()]
    settings.write_text("\n".join(["[global]", *lines, ""]))
    mounted = {Path("/etc/ssl/certs/ca-certificates.crt"): _AUTHORITIES, settings: "/etc/pip.conf"}
    for path in (Path("/etc/apt/sources.list.d"), *sorted(Path("/etc/apt/apt.conf.d").glob("9*"))):
        mounted[path] = str(path)
    return [argument for path, inside in mounted.items() if path.exists() for argument in ("-v", f"{path}:{inside}:ro")]


def _push(tag: str, archive: Path) -> None:
    archive.unlink(missing_ok=True)
    _buildah("push", tag, f"docker-archive:{archive}:{tag}")
    _unmount_storage()


def _unmount_storage() -> None:
    """buildah leaves it mounted on itself."""
    subprocess.run(["umount", str(_storage() / "overlay")], check=False, capture_output=True)


def _storage() -> Path:
    return cache() / "images"


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


if __name__ == "__main__":
    try:
        build()
    except (CannotBuildImage, lookup.Missing, lookup.NotBuilt) as problem:
        sys.exit(f"images: {problem}")

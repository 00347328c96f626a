"""Virtual environments of each Python of this machine, with our wheel.

`python -m tests.installation` (part of `make tools`) installs the locked packages of a controller and of a node into the cache. A test
makes an environment of its own from them and unpacks our wheel into it, which is what an installer does, so it needs no network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("CINDERLIB_CACHE") or Path.home() / ".cache" / "csi-cinderlib") / "environments"
SETS = ("controller", "base")
"""Files of `requirements/`: with Cinder, and without."""
_LANGUAGE = "Programming Language :: Python :: 3."


def versions() -> list[str]:
    """The versions of Python that the package supports: "3.11" ..."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    return [name.rpartition(" ")[2] for name in classifiers if name.startswith(_LANGUAGE)]


def interpreter(version: str) -> Path | None:
    """A Python of this machine: the running one, one on the path, or one of pyenv; the newest patch release."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        return Path(sys.executable)
    if (path := shutil.which(f"python{version}")) and _runs(Path(path)):
        return Path(path)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = pyenv.glob(f"versions/{version}.*/bin/python{version}")
    newest = sorted(found, key=lambda path: int("".join(filter(str.isdigit, path.parents[1].name.rpartition(".")[2]))))
    return newest[-1] if newest else None


def _runs(path: Path) -> bool:
    """pyenv has a command for each version that any of its Pythons has, which may not work here."""
    return subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0


def packages(python: Path, version: str, requirements: str) -> Path:
    """The folder of the environment in the cache; it may not exist."""
    text = (ROOT / "requirements" / f"{requirements}.txt").read_text()
    digest = hashlib.sha256(f"{python.resolve()}\n{text}".encode()).hexdigest()[:12]
    return CACHE / f"{version}-{requirements}-{digest}"


def prepare(python: Path, version: str, requirements: str) -> None:
    """Download and install the locked packages, once; remove older ones.

    Raises:
        subprocess.CalledProcessError: its output gives the reason.
    """
    folder = packages(python, version, requirements)
    if folder.exists():
        return
    for old in CACHE.glob(f"{version}-{requirements}-*"):
        shutil.rmtree(old)
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _uv("venv", "--quiet", "--python", str(python), str(partial))
    path = ROOT / "requirements" / f"{requirements}.txt"
    _uv("pip", "sync", "--quiet", "--no-build", "--require-hashes", "--python", str(partial / "bin/python"), str(path))
    partial.rename(folder)


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment of a test."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run this Python in a directory without our tree, with a clean environment."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        env.update(CINDERLIB_LIBRARY_STATE_DIR=str(cwd / "state"), TMPDIR=str(cwd))
        argv = [str(self.python), *arguments]
        return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300)


def make(folder: Path, python: Path, locked: Path, wheel: Path) -> Environment:
    """An environment with the packages in `locked` and our wheel."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python3.*/site-packages")
    (theirs,) = locked.glob("lib/python3.*/site-packages")
    (site / "locked.pth").write_text(f"{theirs}\n")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    return Environment(folder)


def build_wheel(folder: Path) -> Path:
    """Our wheel, built from a copy of the sources, because setuptools writes into them."""
    source, target = folder / "source", folder / "wheel"
    shutil.copytree(ROOT / "csi_cinderlib", source / "csi_cinderlib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    target.mkdir()
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(target)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (wheel,) = target.glob("*.whl")
    return wheel


def _uv(*arguments: str) -> None:
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    subprocess.run([uv, "--no-config", *arguments], capture_output=True, text=True, check=True)

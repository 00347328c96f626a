"""A whole Kubernetes node in its own mount, network, pid and host-name namespaces: ending one process ends everything.

Node Ready in 5 s once the programs and Debian's packages (containerd runc containernetworking-plugins iptables nftables conntrack) are there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support import loops
from tools import lookup
from tools.catalogue import cache

PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kubectl",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "snapshot-controller",
)
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "openssl": "openssl",
}
READY_SECONDS = 120.0
END_SECONDS = 30.0


class CannotStart(Exception):
    """A cluster cannot be had on this machine, or did not come up; the message says why."""


@dataclass
class Cluster:
    """A cluster of one node; `folder` must not exist yet, unless a cluster runs there already (`running`).

    One at a time on a machine: the control groups are the machine's, and the kubelets would end each other's pods.
    """

    folder: Path
    running: bool = False
    patience: float = 20.0
    """Seconds to wait for another cluster to end."""
    _holder: subprocess.Popen[bytes] | None = None
    _lock: IO[str] | None = None

    def __post_init__(self) -> None:
        if missing := [package for tool, package in PACKAGES.items() if shutil.which(tool) is None]:
            raise CannotStart(f"Debian packages are missing: {' '.join(missing)}")
        if not Path("/usr/lib/cni/bridge").exists():
            raise CannotStart("Debian package containernetworking-plugins is missing")
        self.bin = self.folder / "bin"
        if not self.running:
            self.folder.mkdir(parents=True)

    def start(self) -> None:
        """Returns when the node is ready. `stop` is to be called also when it fails.

        Raises:
            CannotStart: another cluster runs on this machine, or this one did not come up.
            Missing, NotBuilt: its programs are not there.
        """
        self._lock = lock = _sole_cluster(self.folder, self.patience)
        lookup.link_programs(self.bin, *PROGRAMS)
        unshare = "unshare --mount --net --pid --uts --fork --kill-child --propagation private --".split()
        with (self.folder / "holder.log").open("wb") as log:
            self._holder = subprocess.Popen(
                [*unshare, sys.executable, "-m", "tests.cluster.bed.inside", str(self.folder), str(self.bin)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(
                    lock.fileno(),
                ),  # so it is held for as long as the cluster lives, whatever becomes of this process
                cwd=Path(__file__).parents[3],
            )
        (self.folder / "holder.pid").write_text(str(self._holder.pid))
        deadline = time.monotonic() + READY_SECONDS
        while not (self.folder / "ready").exists():
            if self._holder.poll() is not None or time.monotonic() > deadline:
                told = (self.folder / "holder.log").read_text()[-2000:]
                raise CannotStart(f"the cluster did not come up:\n{told}")
            time.sleep(0.2)

    @property
    def first_pid(self) -> int:
        """The first process of the cluster's pid namespace, as the host counts."""
        holder = (self.folder / "holder.pid").read_text()
        children = Path(f"/proc/{holder}/task/{holder}/children").read_text().split()
        return int(children[0])

    def argv(self, *argv: str) -> list[str]:
        """The command that runs `argv` inside the cluster's namespaces, as root of the node."""
        enter = f"nsenter -t {self.first_pid} -m -n -p -u --".split()
        return [*enter, "env", *(f"{name}={value}" for name, value in self.environment.items()), *argv]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "KUBECONFIG": str(self.folder / "admin.kubeconfig"),
            "CONTAINERD_ADDRESS": str(self.folder / "run" / "containerd.sock"),
            "PATH": f"{self.bin}:{os.environ['PATH']}",
        }

    def run(self, *argv: str, text: str = "", seconds: float = 120) -> str:
        """What the command prints.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        done = subprocess.run(
            self.argv(*argv), input=text, capture_output=True, text=True, check=False, timeout=seconds
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv[:6])}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def kubectl(self, *arguments: str, text: str = "", seconds: float = 120) -> str:
        return self.run("kubectl", *arguments, text=text, seconds=seconds)

    def load_image(self, archive: Path) -> None:
        """Import a docker archive into containerd, for the kubelet."""
        self.run("ctr", "-n", "k8s.io", "image", "import", "--no-unpack", str(archive))

    def stop(self) -> None:
        """End the holder, and with it every process, mount and interface; then remove the devices and control groups it leaves.

        Raises:
            RuntimeError: something is still there.
        """
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            self._holder = None
            _until(self._no_loops, "its loop devices cannot be detached")
            _until(_no_groups, "its control groups cannot be removed")
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _no_loops(self) -> bool:
        """Detach what still lies on the cluster's files; whether nothing does any more."""
        left = loops.below(f"{self.folder}/")
        for number in left:
            subprocess.run(["losetup", "-d", f"/dev/loop{number}"], check=False, capture_output=True)
        return not left


def _sole_cluster(folder: Path, patience: float) -> IO[str]:
    """A lock that is held while this file, or a copy of it in another process, is open."""
    file = (cache() / "cluster.lock").open("a+")
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.seek(0)
                raise CannotStart(f"another cluster runs on this machine, in {file.read()}") from None
            time.sleep(0.2)
    file.truncate(0)
    file.write(str(folder))
    file.flush()
    return file


def _until(done: Callable[[], bool], otherwise: str) -> None:
    """Ask again until it is done: the kernel tears namespaces down after their last process has ended."""
    deadline = time.monotonic() + END_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"a cluster has ended, but {otherwise}")
        time.sleep(0.1)


def _no_groups() -> bool:
    """Remove what is empty of the pods' control groups; whether none is left."""
    tops = [controller / "kubepods" for controller in Path("/sys/fs/cgroup").iterdir()]
    for top in tops:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(FileNotFoundError):
                _remove_group(folder)
    return not any(top.exists() for top in tops)


def _remove_group(folder: str) -> None:
    try:
        Path(folder).rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:  # its processes are about to end
            raise

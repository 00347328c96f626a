"""A whole Kubernetes node in its own mount, network, pid and host-name namespaces: ending one process ends everything.

Node Ready in 5 s once the programs and Debian's packages (containerd runc containernetworking-plugins iptables nftables conntrack) are there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.bed import programs

PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kubectl",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
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


class CannotStart(Exception):
    """A cluster cannot be had on this machine, or did not come up; the message says why."""


@dataclass
class Cluster:
    """A running cluster of one node; `folder` must not exist yet, unless a cluster runs there already (`running`)."""

    folder: Path
    running: bool = False
    _holder: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        if missing := [package for tool, package in PACKAGES.items() if shutil.which(tool) is None]:
            raise CannotStart(f"Debian packages are missing: {' '.join(missing)}")
        if not Path("/usr/lib/cni/bridge").exists():
            raise CannotStart("Debian package containernetworking-plugins is missing")
        try:
            self.bin = programs.ensure(*PROGRAMS)
        except programs.CannotBuild as problem:
            raise CannotStart(str(problem)) from problem
        if not self.running:
            self.folder.mkdir(parents=True)

    def start(self) -> None:
        unshare = "unshare --mount --net --pid --uts --fork --kill-child --propagation private --".split()
        with (self.folder / "holder.log").open("wb") as log:
            self._holder = subprocess.Popen(
                [*unshare, sys.executable, "-m", "tests.cluster.bed.inside", str(self.folder), str(self.bin)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=Path(__file__).parents[3],
            )
        (self.folder / "holder.pid").write_text(str(self._holder.pid))
        deadline = time.monotonic() + READY_SECONDS
        while not (self.folder / "ready").exists():
            if self._holder.poll() is not None or time.monotonic() > deadline:
                told = (self.folder / "holder.log").read_text()[-2000:]
                self.stop()
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
        """End the holder, and with it every process, mount and interface; remove the empty control groups it leaves."""
        if self._holder is None:
            return
        self._holder.kill()
        self._holder.wait()
        self._holder = None
        time.sleep(0.5)  # the kernel tears the pid namespace down after its first process has ended
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            if str(self.folder) in backing.read_text() or "/var/lib/csi-cinderlib/volumes/" in backing.read_text():
                subprocess.run(["losetup", "-d", f"/dev/{backing.parts[3]}"], check=False, capture_output=True)
        for controller in Path("/sys/fs/cgroup").iterdir():
            _remove_groups(controller / "kubepods")


def _remove_groups(top: Path) -> None:
    if not top.is_dir():
        return
    for child in top.iterdir():
        if child.is_dir():
            _remove_groups(child)
    top.rmdir()

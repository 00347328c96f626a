"""Runs as the first process of the cluster's own namespaces: lays the ground, starts every daemon, then waits.

`python -m tests.cluster.bed.inside FOLDER PROGRAMS`. Everything lies under FOLDER: certificates, data, logs (`NAME.log`), the containers'
run-time state, kubeconfigs (`admin.kubeconfig`, `node.kubeconfig`). When it is ready, FOLDER/ready appears.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ADDRESS = "10.77.0.1"
SERVICES = "10.96.0.0/16"
NODE = "node1"
PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
"""A name only: the image is made on this machine (images.py)."""

VOLUME_SPACE = 400 * 1024**3
"""Of a sparse file: what a hundred claims promise, not what they take."""

_HOST_FOLDERS = (
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
    "/run/netns",
    "/run/containerd",  # the shims' sockets and runc's state, wherever containerd itself keeps its own
)


@dataclass
class Inside:
    folder: Path
    programs: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def main(self) -> None:
        self.lay_mounts()
        self.lay_network()
        self.write_certificates()
        self.write_kubeconfigs()
        self.start_storage_and_runtime()
        self.wait_for("API server", "get", "--raw", "/readyz")
        self.start_controllers_and_node()
        self.wait_for("node", "wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=1s")
        self.wait_for("service account", "get", "serviceaccount", "default")
        (self.folder / "ready").touch()
        while all(process.poll() is None for process in self.running.values()):
            time.sleep(1)
        ended = [name for name, process in self.running.items() if process.poll() is not None]
        sys.exit(f"ended: {', '.join(ended)}")

    def lay_mounts(self) -> None:
        """This namespace's own /proc, and own folders where kubelet and runtime insist on fixed paths."""
        run("mount", "-t", "proc", "proc", "/proc")
        run("mount", "--make-rshared", "/")
        for path in _HOST_FOLDERS:
            own = self.folder / "host" / path.lstrip("/")
            own.mkdir(parents=True, exist_ok=True)
            Path(path).mkdir(parents=True, exist_ok=True)
            run("mount", "--bind", str(own), path)
        run("mount", "--make-rshared", "/var/lib/kubelet")
        self.lay_volume_folder()

    def lay_volume_folder(self) -> None:
        """Where the local back end keeps its files: XFS, so that copies are reflinks. Its loop device goes with the mount."""
        image, folder = self.folder / "volumes.xfs", Path("/var/lib/csi-cinderlib")
        with image.open("wb") as file:
            file.truncate(VOLUME_SPACE)
        run("mkfs.xfs", "-q", str(image))
        folder.mkdir(parents=True, exist_ok=True)
        run("mount", "-o", "loop", str(image), str(folder))

    def lay_network(self) -> None:
        """A veth pair serves as eth0: the kernel has no dummy device."""
        run("hostname", NODE)
        for command in (
            "link set lo up",
            "link add eth0 type veth peer name eth0p",
            "link set eth0p up",
            f"addr add {ADDRESS}/24 dev eth0",
            "link set eth0 up",
            "route add default dev eth0",
        ):
            run("ip", *command.split())
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def write_certificates(self) -> None:
        folder = self.folder / "certificates"
        folder.mkdir(exist_ok=True)
        names = f"IP:127.0.0.1,IP:10.96.0.1,IP:{ADDRESS},DNS:kubernetes.default.svc"
        (folder / "names").write_text(f"subjectAltName={names}")
        quick = "-newkey rsa:2048 -nodes"
        for command in (
            f"req -x509 {quick} -days 2 -subj /CN=test-ca -keyout ca.key -out ca.crt",
            f"req {quick} -subj /CN=kube-apiserver -keyout api.key -out api.csr",
            "x509 -req -in api.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out api.crt",
            "genrsa -out service-account.key 2048",
        ):
            run("openssl", *command.split(), cwd=folder)

    def write_kubeconfigs(self) -> None:
        admin, node = secrets.token_hex(16), secrets.token_hex(16)
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{admin},admin,admin,"system:masters"\n{node},system:node:{NODE},{NODE},"system:nodes"\n')
        for user, token in (("admin", admin), ("node", node)):
            path = self.folder / f"{user}.kubeconfig"
            path.touch(mode=0o600)
            cluster = {
                "server": f"https://{ADDRESS}:6443",
                "certificate-authority": str(self.folder / "certificates" / "ca.crt"),
            }
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {"token": token}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
            path.write_text(json.dumps(config))

    def start_storage_and_runtime(self) -> None:
        certificates = self.folder / "certificates"
        self.start(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--log-level=warn",
            "--unsafe-no-fsync",
        )
        self.start(
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=0.0.0.0",
            f"--advertise-address={ADDRESS}",
            "--secure-port=6443",
            f"--tls-cert-file={certificates / 'api.crt'}",
            f"--tls-private-key-file={certificates / 'api.key'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            # Without this exec and logs look the node's name up in DNS.
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-cluster-ip-range={SERVICES}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={certificates / 'service-account.key'}",
            f"--service-account-signing-key-file={certificates / 'service-account.key'}",
        )
        (self.folder / "containerd.toml").write_text(containerd_config(self.folder))
        self.start_from_path("containerd", "-c", str(self.folder / "containerd.toml"))

    def start_controllers_and_node(self) -> None:
        certificates, admin = self.folder / "certificates", self.folder / "admin.kubeconfig"
        self.start(
            "kube-controller-manager",
            f"--kubeconfig={admin}",
            f"--service-account-private-key-file={certificates / 'service-account.key'}",
            f"--root-ca-file={certificates / 'ca.crt'}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--attach-detach-reconcile-sync-period=5s",
        )
        self.start("kube-scheduler", f"--kubeconfig={admin}", "--leader-elect=false")
        (self.folder / "kubelet.json").write_text(json.dumps(kubelet_config(self.folder)))
        self.start(
            "kubelet",
            f"--kubeconfig={self.folder / 'node.kubeconfig'}",
            f"--config={self.folder / 'kubelet.json'}",
            f"--node-ip={ADDRESS}",
            f"--hostname-override={NODE}",
            "--v=2",
        )
        self.start(
            "kube-proxy",
            f"--kubeconfig={admin}",
            f"--hostname-override={NODE}",
            "--proxy-mode=nftables",
            "--conntrack-max-per-core=0",
        )

    def start(self, name: str, *arguments: str) -> None:
        self._spawn(name, [str(self.programs / name), *arguments])

    def start_from_path(self, name: str, *arguments: str) -> None:
        self._spawn(name, [name, *arguments])

    def _spawn(self, name: str, argv: Sequence[str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_for(self, what: str, *kubectl: str, seconds: float = 90) -> None:
        argv = [str(self.programs / "kubectl"), f"--kubeconfig={self.folder / 'admin.kubeconfig'}", *kubectl]
        deadline = time.monotonic() + seconds
        while subprocess.run(argv, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                sys.exit(f"{what} did not become ready in {seconds} s")
            time.sleep(0.2)


def run(*argv: str, cwd: Path | None = None) -> None:
    subprocess.run(argv, check=True, cwd=cwd, capture_output=True)


def containerd_config(folder: Path) -> str:
    """containerd 1.6 (Debian 12) with runc on cgroups v1, its own root, and the CNI plugins of Debian's package."""
    off = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in ("aufs", "btrfs", "devmapper", "zfs"))
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{folder}/containerd"
state = "{folder}/run/containerd"
disabled_plugins = [{off}]
[grpc]
  address = "{folder}/run/containerd.sock"
[{cri}]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [{cri}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [{cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [{cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [{cri}.containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def kubelet_config(folder: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "maxOpenFiles": 20000,
        "protectKernelDefaults": False,
        "containerRuntimeEndpoint": f"unix://{folder}/run/containerd.sock",
        "clusterDomain": "cluster.local",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
        "localStorageCapacityIsolation": False,
        "registerWithTaints": [],
        "syncFrequency": "5s",  # a mounted volume's growth is looked for this often; a minute by default
    }


CNI = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.88.0.0/16"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}

if __name__ == "__main__":
    inside = Inside(Path(sys.argv[1]), Path(sys.argv[2]))
    for name in ("run", "cni"):
        (inside.folder / name).mkdir(exist_ok=True)
    (inside.folder / "cni" / "10-bridge.conflist").write_text(json.dumps(CNI))
    inside.main()

"""What the pods may do and who reads their figures, in a cluster: less than before, and volumes work all the same."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from tests.cluster.bed.inside import ADDRESS
from tests.cluster.bed.installation import NAMESPACE, RELEASE, Installation
from tests.cluster.driver.conftest import Kube, until
from tests.cluster.driver.test_values import installed_with
from tests.cluster.driver.test_volumes import SUM, WRITE
from tests.support.certificates import make_certificate

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

NAME = f"{RELEASE}-metrics.{NAMESPACE}.svc"
PORTS = {"controller": 9810, "node": 9820}
CALLS = {"controller": "CreateVolume", "node": "NodeStageVolume"}


def address_of(installation: Installation, role: str) -> str:
    pods = installation.items("pod", "-n", NAMESPACE, "-l", f"app.kubernetes.io/component={role}")
    return str(pods[0]["status"]["podIP"])


def in_driver(installation: Installation, role: str, script: str) -> str:
    """What the script prints in the driver's container."""
    pods = installation.items("pod", "-n", NAMESPACE, "-l", f"app.kubernetes.io/component={role}")
    name = pods[0]["metadata"]["name"]
    return installation.cluster.kubectl("exec", "-n", NAMESPACE, name, "-c", "cinderlib", "--", "sh", "-c", script)


def test_figures_are_told_in_the_controllers_network_and_on_the_nodes_own_host(kube: Kube) -> None:
    kube.pod(kube.claim())
    run = kube.installation.cluster.run
    for role, address in (("controller", address_of(kube.installation, "controller")), ("node", "127.0.0.1")):
        text = run("curl", "-sf", f"http://{address}:{PORTS[role]}/metrics")
        assert "csi_cinderlib_build_info" in text
        assert f'method="{CALLS[role]}"' in text
    with pytest.raises(RuntimeError):
        run("curl", "-sf", f"http://{ADDRESS}:{PORTS['node']}/metrics")


def test_figures_are_told_to_the_network_with_a_certificate_and_a_token(kube: Kube, tmp_path: Path) -> None:
    files = make_certificate(tmp_path, "tls", host=NAME)
    data = {"tls.crt": Path(files.certificate_file), "tls.key": Path(files.key_file), "token": tmp_path / "token"}
    data["token"].write_text("the-token")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "figures", "namespace": NAMESPACE},
        "data": {name: b64encode(path.read_bytes()).decode() for name, path in data.items()},
    }
    kube.installation.apply(secret)
    values = {"metrics": {"hostAddress": "node", "tlsSecret": "figures", "tokenSecret": "figures"}}
    with installed_with(kube, values):
        for role, port in PORTS.items():
            address = address_of(kube.installation, role)
            ask = ("curl", "-sf", "--cacert", files.certificate_file, "--resolve", f"{NAME}:{port}:{address}")
            page = f"https://{NAME}:{port}/metrics"
            told = kube.installation.cluster.run(*ask, "-H", "Authorization: Bearer the-token", page)
            assert "csi_cinderlib_build_info" in told
            with pytest.raises(RuntimeError):
                kube.installation.cluster.run(*ask, page)
            with pytest.raises(RuntimeError):
                kube.installation.cluster.run("curl", "-sf", f"http://{address}:{port}/metrics")
    kube.installation.delete("secret", "figures", "-n", NAMESPACE)


@pytest.mark.parametrize("role", PORTS)
def test_the_image_cannot_be_changed_from_within(kube: Kube, role: str) -> None:
    said = in_driver(kube.installation, role, "touch /opt/csi-cinderlib/x /usr/bin/x /etc/x /x 2>&1 || true")
    assert said.count("Read-only file system") == 4
    assert in_driver(kube.installation, role, "touch /tmp/x && rm /tmp/x && echo writable").strip() == "writable"


def test_a_node_sees_of_the_kubelets_directory_only_where_volumes_are(kube: Kube) -> None:
    seen = in_driver(kube.installation, "node", "cd /var/lib/kubelet; ls . plugins plugins/kubernetes.io").split()
    assert sorted(word for word in seen if not word.endswith(":")) == [
        "csi",
        "csi.cinderlib.io",
        "kubernetes.io",
        "plugins",
        "plugins_registry",
        "pods",
    ]


def test_volumes_in_files_need_neither_the_hosts_network_nor_its_processes(kube: Kube) -> None:
    values = {"node": {"hostNetwork": False, "hostPID": False, "hostPaths": {"iscsi": "", "nvme": ""}}}
    with installed_with(kube, values):
        claim = kube.claim()
        first = kube.pod(claim)
        written = kube.shell(first, WRITE)
        kube.delete("pod", first)
        assert kube.shell(kube.pod(claim), SUM) == written
        kube.pod(kube.claim(mode="Block"))
        assert in_driver(kube.installation, "node", "readlink /proc/1/exe").strip().startswith("/usr/bin/python3")
        told = kube.installation.cluster.run(
            "curl", "-sf", f"http://{address_of(kube.installation, 'node')}:9820/metrics"
        )
        assert 'method="NodeStageVolume"' in told


def test_with_arrays_alone_the_controllers_containers_are_no_root_and_can_read_their_token(kube: Kube) -> None:
    """A sidecar that cannot read it ends at once; this back end is away, and the controller serves all the same."""
    away = {"driver": "cinder.volume.drivers.pure.PureISCSIDriver", "options": {"san_ip": "192.0.2.1"}}
    installation = kube.installation
    with installed_with(kube, {"localBackend": {"enabled": False}, "backends": {"away": away}}):
        script = "id -u; wc -l < /etc/csi-cinderlib/config/config.yaml; head -c 3 /var/run/secrets/kubernetes.io/serviceaccount/token"
        user, lines, token = in_driver(installation, "controller", script).split()
        assert (user, token) == ("65532", "eyJ")
        assert int(lines) > 5
        until(lambda: len(installation.items("lease", "-n", NAMESPACE)) > 0, installation)
        (pod,) = installation.items("pod", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=controller")[:1]
        statuses = pod["status"]["containerStatuses"]
        assert len(statuses) == 5
        assert [item["name"] for item in statuses if not item["ready"] or item["restartCount"]] == []

"""Two controllers on custom resources and one directory of volumes: whoever is asked, and whoever dies, each name is one volume."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.persistence.lease import TIMING
from tests.cluster.bed.custom_resources import Namespace
from tests.program.serve.conftest import Calls, Start, start  # noqa: F401  # a fixture
from tests.program.serve.replicas import FAIL_OVER, Rows, Site, ask_both, patiently, seconds_until_ready

pytestmark = pytest.mark.cluster


@pytest.fixture
def site(namespace: Namespace, start: Start, tmp_path: Path) -> Site:  # noqa: F811  # the fixture
    def rows() -> Rows:
        return sorted((item["spec"]["id"], item["spec"]["status"]) for item in namespace.objects("volumes"))

    options = f"{{kubeconfig: {namespace.kubeconfigs['controller']}, namespace: {namespace.name}}}"
    return Site(f"{{plugin: kubernetes, options: {options}}}", rows, start, tmp_path)


def test_the_same_names_asked_of_both_at_once_are_one_volume_each(site: Site) -> None:
    ask_both(site, site.pair(), [f"pvc-{number}" for number in range(20)])


def test_the_active_controller_is_shown_as_a_lease(site: Site, namespace: Namespace) -> None:
    leader, standby = site.pair()
    (lease,) = namespace.objects("leases", group="coordination.k8s.io/v1")
    assert lease["spec"]["holderIdentity"] in standby.log()
    assert lease["spec"]["leaseDurationSeconds"] == TIMING.duration
    leader.terminate()
    assert leader.wait(60) == 0
    standby.wait_until_ready()
    (taken_over,) = namespace.objects("leases", group="coordination.k8s.io/v1")
    assert taken_over["spec"]["holderIdentity"] not in ("", lease["spec"]["holderIdentity"])


def test_a_leader_killed_among_many_creates_leaves_no_volume_twice(site: Site) -> None:
    leader, standby = site.pair("create-volume.driver-done:5")
    names = [f"pvc-{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(Calls(leader).create, name) for name in names]
        assert sum(isinstance(call.exception(), grpc.RpcError) for call in asked)
    assert leader.wait(60) == -signal.SIGKILL
    died = time.monotonic()
    assert "creating" in {status for _, status in site.rows()}
    assert seconds_until_ready(standby, died) < FAIL_OVER
    codes: set[grpc.StatusCode] = set()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda name: patiently([standby], name, codes), names))
    assert sorted(answers) == [id for id, _ in site.rows()]
    assert site.is_whole(names)

"""The status of BackendConfiguration objects, as programs read it."""

from __future__ import annotations

from csi_cinderlib.app.backend_views import View
from csi_cinderlib.app.configuration_status import ConfigurationStatus
from csi_cinderlib.app.object_states import Declared, Refusal, State
from csi_cinderlib.app.observations import Seen
from csi_cinderlib.persistence.kubernetes.configurations import Configurations
from csi_cinderlib.persistence.kubernetes.resources import CONFIGURATION
from tests.support.cluster_objects import NAMESPACE, ClusterObjects

PATH = CONFIGURATION.path(NAMESPACE)


def test_tools_that_compare_generations_do_not_take_a_refused_change_for_healthy() -> None:
    """They read `status.observedGeneration` and Ready, which is that of the previous options."""
    cluster = ClusterObjects()
    for options in ({}, {"san_ip": "wrong"}):
        found = cluster.apply(PATH, "array", {"spec": {"driver": "x.Driver", "options": options}})
    declared = Declared("array", found, is_owner=True)
    view = View(declared=declared, refusal=Refusal("OptionsRejected", "no"), in_effect=1)
    shelf = Configurations(cluster, NAMESPACE, driver_name="csi.cinderlib.io", instance="pod")
    status = ConfigurationStatus(
        shelf, lambda: [State(declared)], lambda: [Seen(name="array", ready=True)], lambda _state, _seen: view
    )
    status.update()
    shown = cluster.found(f"{PATH}/array")
    assert shown is not None
    assert (shown["metadata"]["generation"], shown["status"]["observedGeneration"]) == (2, 1)
    generations = {item["type"]: item["observedGeneration"] for item in shown["status"]["conditions"]}
    assert (generations["Ready"], generations["Accepted"]) == (1, 2)

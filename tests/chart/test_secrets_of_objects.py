"""Secrets of BackendConfiguration objects that the chart renders: who may read them, and that no password is in the objects."""

from __future__ import annotations

import re

from csi_cinderlib.config import objects as specs
from csi_cinderlib.observe import redact
from csi_cinderlib.persistence.kubernetes.resources import CONFIGURATION
from scripts.generate.chart import CHART, RELEASE
from tests.chart.conftest import Render, one


def test_the_right_to_read_the_secret_of_an_object_outlives_the_release_too(render: Render) -> None:
    """Without it, the back end would not start any more, and the volumes of the object could not be deleted."""
    rendered = render("objects")
    name = f"{RELEASE}-csi-cinderlib-secret-of-array1"
    role, binding = one(rendered, "Role", name), one(rendered, "RoleBinding", name)
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["array1"], "verbs": ["get", "list", "watch"]}
    ]
    assert binding["roleRef"]["name"] == name
    account = one(rendered, "ServiceAccount", f"{RELEASE}-csi-cinderlib-controller")["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == [account]
    for item in (role, binding):
        assert item["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    names = [item["metadata"]["name"] for item in rendered if item["kind"] == "Role"]
    assert not [name for name in names if "netapp" in name], "it has no Secret"


def test_the_chart_refuses_the_passwords_that_the_controller_refuses(render: Render) -> None:
    """The same pattern, without the exceptions that Helm's regular expressions cannot have. These are removed from the name first."""
    checks = (CHART / "templates" / "_checks.tpl").read_text()
    assert re.sub(r"\(\?![^)]*\)", "", redact._SECRET_KEY.pattern) in checks
    options = {
        "rbd_secret_uuid": "457eb676-33da-42ec-9a8c-9293d545c337",
        "san_private_key": "/etc/keys/a",
        "netapp_password_length": "",
        "sf_passwordless": "x",
        "use_secret": "false",
    }
    specs.read("a", {"driver": "x.Y", "options": options}, None)
    rendered = render({"backendObjects": {"specs": {"a": {"driver": "x.Y", "options": options}}}})
    assert one(rendered, CONFIGURATION.kind, "a")["spec"]["options"] == options

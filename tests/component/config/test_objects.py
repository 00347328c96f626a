"""The spec of a BackendConfiguration as settings, and its problems by key path."""

from __future__ import annotations

from typing import Any

import pytest

from csi_cinderlib.config import objects
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError

DRIVER = "cinder.volume.drivers.pure.PureISCSIDriver"


def problems(spec: dict[str, Any], secret: dict[str, bytes] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        objects.read("array1", spec, secret)
    return str(raised.value).splitlines()


def test_a_full_spec_becomes_settings() -> None:
    spec = {
        "driver": DRIVER,
        "options": {"san_ip": "192.0.2.1", "use_chap_auth": True, "reserved_percentage": 5, "list": ["a"]},
        "secretRef": {"name": "array1"},
        "pools": ["p1"],
        "topology": {"zone": "a"},
        "limits": {"maxConcurrentCalls": 4, "statsSeconds": 60},
        "paused": True,
        "drained": True,
    }
    assert objects.read("array1", spec, {"pure-api-token": b"t0ken\n"}) == BackendSettings(
        name="array1",
        driver=DRIVER,
        options={
            "san_ip": "192.0.2.1",
            "use_chap_auth": "true",
            "reserved_percentage": "5",
            "list": ["a"],
            "pure_api_token": "t0ken",
        },
        max_concurrent_calls=4,
        stats_seconds=60.0,
        topology={"zone": "a"},
        pools=("p1",),
        paused=True,
        drained=True,
        origins={"pure_api_token": "secret array1, key pure-api-token"},
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "spec.driver: is missing"),
        ({"driver": "Pure"}, "spec.driver: must be the path of a class, package.module.Class (got 'Pure')"),
        ({"driver": DRIVER, "optoins": {}}, "spec.optoins: unknown key 'optoins'; did you mean 'options'?"),
        ({"driver": DRIVER, "limits": {"max": 1}}, "spec.limits.max: unknown key 'max'"),
        ({"driver": DRIVER, "limits": {"maxConcurrentCalls": -1}}, "spec.limits.maxConcurrentCalls: must not be neg"),
        ({"driver": DRIVER, "limits": {"statsSeconds": "x"}}, "spec.limits.statsSeconds: must be a number"),
        ({"driver": DRIVER, "paused": "yes"}, "spec.paused: must be true or false"),
        ({"driver": DRIVER, "options": {"san_login": 5349}}, "spec.options.san_login: must be text"),
        ({"driver": DRIVER, "options": {"san-ip": "a", "san_ip": "b"}}, "spec.options.san_ip: is also spelled"),
        (
            {"driver": DRIVER, "options": {"san_password": {"file": "/etc/csi-cinderlib/keys/keys.yaml"}}},
            "spec.options.san_password: must not refer to a file or variable of the controller; put it into a Secret",
        ),
        (
            {"driver": DRIVER, "options": {"list": [{"env": "HOME"}]}},
            "spec.options.list[0]: must not refer to a file or variable of the controller",
        ),
    ],
)
def test_a_problem_names_the_key_path_of_the_object(spec: dict[str, Any], expected: str) -> None:
    (problem,) = problems(spec)
    assert problem.startswith(expected), problem


def test_all_problems_are_reported_at_once() -> None:
    found = problems({"driver": "x", "optoins": {}, "paused": 1})
    assert [problem.partition(":")[0] for problem in found] == ["spec.optoins", "spec.paused", "spec.driver"]


def test_an_option_in_the_object_and_in_the_secret_is_refused() -> None:
    spec = {"driver": DRIVER, "options": {"san_login": "a"}, "secretRef": {"name": "s"}}
    assert problems(spec, {"san-login": b"b"}) == [
        "spec.options.san-login: is also a key of the Secret 's'; remove one"
    ]


def test_a_value_of_a_secret_that_is_not_text_is_refused_without_showing_it() -> None:
    spec = {"driver": DRIVER, "secretRef": {"name": "s"}}
    assert problems(spec, {"san_password": b"\xff"}) == ["secret s, key san_password: is not UTF-8 text"]


def test_key_paths_of_a_driver_become_those_of_the_object() -> None:
    text = "backends.a.b.options.x: wrong; backends.a.max_concurrent_calls, backends.ab.options"
    assert objects.path_in_object(text, "a.b").startswith("spec.options.x: wrong; backends.a.max")
    assert objects.path_in_object(text, "a").endswith("spec.limits.maxConcurrentCalls, backends.ab.options")


@pytest.mark.parametrize(
    "options",
    [
        {"san_password": "canary"},
        {"replication_device": {"backend_id": "b", "san_password": "canary"}},
        {"replication_device": ["backend_id:b,san_password:canary"]},
        {"nexenta_rest_address": "https://admin:canary@192.0.2.1"},
    ],
    ids=["name", "mapping", "text", "address"],
)
def test_a_password_in_an_object_is_refused_without_showing_it(options: dict[str, object]) -> None:
    (problem,) = problems({"driver": DRIVER, "options": options})
    assert (
        problem
        == f"spec.options.{next(iter(options))}: holds a password; put this option into the Secret of spec.secretRef"
    )


@pytest.mark.parametrize(
    "path",
    [
        "/var/run/secrets/x/token",
        "/run//secrets/x",
        "/etc/../proc/1/environ",
        "/a,/etc/csi-cinderlib/keys.yaml",
        "/dev/fd/../environ",
        "file:///var/run/secrets/x",
        "backend_id:a,conf:/var/run/secrets/x/token",
        '"/run/secrets/x"',
        "$HOME/../../run/secrets/x",
    ],
)
def test_an_object_cannot_make_a_driver_read_secrets_of_the_controller(path: str) -> None:
    (problem,) = problems({"driver": DRIVER, "options": {"nfs_shares_config": path}})
    assert problem == "spec.options.nfs_shares_config: must not be a file with secrets of the controller"
    spec = {"driver": DRIVER, "secretRef": {"name": "s"}}
    assert problems(spec, {"nfs_shares_config": path.encode()}) == [
        "secret s, key nfs_shares_config: must not be a file with secrets of the controller"
    ]
    objects.read("array1", {"driver": DRIVER, "options": {"nfs_shares_config": "/etc/cinder/shares"}}, None)
    objects.read("array1", {"driver": DRIVER, "options": {"nfs_shares_config": "h:/srv/proc/x, /dev/vg/a"}}, None)


@pytest.mark.parametrize(
    "topology", [{"zone": "rack 1"}, {"a b": "c"}, {"zone": ""}, {"zone": "x" * 64}, {"a/b/c": "d"}]
)
def test_a_topology_that_cannot_be_labels_is_refused(topology: dict[str, str]) -> None:
    (problem,) = problems({"driver": DRIVER, "topology": topology})
    assert problem.startswith("spec.topology")

"""From a configuration file to volumes: YAML and a cinder.conf, secrets from elsewhere, several back ends of several drivers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.config import load
from csi_cinderlib.csi.requests.parameters import storage_class
from csi_cinderlib.errors import DriverError, InvalidRequest
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model import ids
from csi_cinderlib.model.capability import AccessMode, Block, Capability
from csi_cinderlib.model.records import Volume
from csi_cinderlib.model.requests import CreateVolume
from csi_cinderlib.model.size import Bytes, SizeRange
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning.volumes import Volumes

GIB = 1024**3
BLOCK = Capability(Block(), AccessMode.SINGLE_NODE_WRITER)
YAML = """
cinder_conf: cinder.conf
backends:
  asking:
    driver: tests.support.fakes.nothing.AskingDriver
    options:
      nothing_pools: [small, big]
      nothing_capacity_gb: "100"
      nothing_password: {file: PASSWORD}
      nothing_error: {env: WORDS}
  files:
    driver: csi_cinderlib.drivers.loopfile.LoopFileDriver
    options: {loopfile_directories: ["only:DIRECTORY"]}
volume_types:
  gold:
    extra_specs: {"vendor:tier": "1"}
    qos_specs: {maxIOPS: "100"}
  played:
    qos_specs: {total_iops_sec: "10"}
    qos_consumer: front-end
"""
CINDER_CONF = """
[DEFAULT]
enabled_backends = old, roomy
debug = true
[backend_defaults]
nothing_port = 8443
[old]
volume_driver = tests.support.fakes.legacy.LegacyDriver
volume_backend_name = shown
nothing_password = pa$$word
[roomy]
volume_driver = tests.support.fakes.nothing.NothingDriver
nothing_capacity_gb = 5000
nothing_port = 9000
[unused]
volume_driver = no.such.Driver
"""


@pytest.fixture(scope="module")
def back_ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Volumes, Backends]]:
    directory = tmp_path_factory.mktemp("configured")
    (directory / "password").write_text("s3cret\n")
    text = YAML.replace("PASSWORD", str(directory / "password")).replace("DIRECTORY", str(directory / "volumes"))
    (directory / "settings.yaml").write_text(text)
    (directory / "cinder.conf").write_text(CINDER_CONF)
    settings = load.load(
        [directory / "settings.yaml"], environment={"WORDS": "no luck", "CINDERLIB_STATE_DIR": str(directory)}
    )
    store, runtime = MemoryStore(), Runtime(directory)
    made = Backends(
        LocalBackend(one, store=store, runtime=runtime, volume_types=settings.volume_types) for one in settings.backends
    )
    for one in made.all():
        one.start()
    yield (
        Volumes(
            store, made, KeyedLocks(), ids=ids.random_namespace(), volume_types=settings.volume_types, page_limit=100
        ),
        made,
    )
    for one in made.all():
        one.stop()
    runtime.close()


@pytest.fixture
def volumes(back_ends: tuple[Volumes, Backends]) -> Volumes:
    return back_ends[0]


def driver(back_ends: tuple[Volumes, Backends], name: str) -> Any:
    return cast(LocalBackend, back_ends[1].get(name)).driver


def create(volumes: Volumes, name: str, **parameters: str) -> Volume:
    """As a StorageClass with these parameters does; `__` in a name is a slash."""
    given = {key.replace("__", "/"): value for key, value in parameters.items()}
    request = CreateVolume(
        name=name, size=SizeRange(Bytes(GIB)), capabilities=(BLOCK,), parameters=storage_class(given)
    )
    return volumes.create(request)


def test_all_back_ends_of_both_files_are_there(back_ends: tuple[Volumes, Backends]) -> None:
    assert [one.name for one in back_ends[1].all()] == ["asking", "files", "old", "roomy"]
    assert all(one.ready for one in back_ends[1].all())


def test_secrets_and_values_arrive_from_where_they_are(back_ends: tuple[Volumes, Backends]) -> None:
    options = driver(back_ends, "asking").configuration
    assert (options.nothing_password, options.nothing_error) == ("s3cret", "no luck")


def test_a_section_of_a_cinder_conf_is_taken_as_it_is(back_ends: tuple[Volumes, Backends]) -> None:
    old, roomy = driver(back_ends, "old").configuration, driver(back_ends, "roomy").configuration
    assert (old.volume_backend_name, old.nothing_port, old.nothing_password) == ("shown", 8443, "pa$word")
    assert roomy.nothing_port == 9000


def test_the_place_with_most_room_is_chosen_or_the_one_that_is_named(volumes: Volumes) -> None:
    named = create(volumes, "named", backend="asking", pool="big", type="gold")
    assert (named.backend, named.pool) == ("asking", "big")
    assert create(volumes, "free to choose", backend="roomy").pool == "one"
    assert create(volumes, "files", backend="files").host.endswith("@files#only")
    assert create(volumes, "anywhere", pool="one").backend in ("old", "roomy")


def test_type_extra_specs_and_qos_reach_the_driver_together(
    volumes: Volumes, back_ends: tuple[Volumes, Backends]
) -> None:
    create(volumes, "golden", backend="asking", type="gold", **{"extraSpecs/vendor:dedup": "on", "qos/minIOPS": "10"})
    extra, qos = driver(back_ends, "asking").heard["object"]
    assert extra == {"vendor:tier": "1", "vendor:dedup": "on"}
    assert qos == {"maxIOPS": "100", "minIOPS": "10"}


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"type": "played"}, "total_iops_sec"),
        ({"type": "silver"}, "silver"),
        ({"backend": "asking", "pool": "tiny"}, "tiny"),
        ({"backend": "nowhere"}, "nowhere"),
        ({"backend": "files", "qos__maxIOPS": "5"}, "maxIOPS"),
        ({"backend": "asking", "extraSpecs__replication_enabled": "<is> True"}, "replication_enabled"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_name(
    volumes: Volumes, parameters: dict[str, str], named: str
) -> None:
    with pytest.raises(DriverError, match=named):
        create(volumes, "refused", **parameters)
    assert [one.record.name for one in volumes.list("", 100).records if one.record.name == "refused"] == []


def test_an_unknown_parameter_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidRequest, match="qso/maxIOPS"):
        storage_class({"qso/maxIOPS": "5"})

"""Files and devices of the host that a connection names: allowed ones, and every way to another one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.app import local_paths
from csi_cinderlib.brick import ANYWHERE, AllowedPaths, Initiator
from csi_cinderlib.brick.allowed_paths import NOWHERE, Place, file_below
from csi_cinderlib.brick.plain_names import check
from csi_cinderlib.config.load import parse
from csi_cinderlib.errors import ConfigurationError, HostError, InvalidRequest
from csi_cinderlib.host import devices, loopctl
from csi_cinderlib.model.connection import Connection

MIB = 1 << 20
LOOP_FILES = "csi_cinderlib.drivers.loopfile.LoopFileDriver"


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "pool/inner").mkdir(parents=True)
    for name in ("pool/volume", "pool/inner/volume", "secret"):
        (tmp_path / name).write_bytes(bytes(MIB))
    return tmp_path / "pool"


def below(*entries: object) -> AllowedPaths:
    return AllowedPaths(lambda: map(str, entries))


def local(path: object, protocol: str = "local") -> Connection:
    return Connection(volume_id="v", protocol=protocol, data={"device_path": str(path)})


@pytest.mark.root
@pytest.mark.parametrize("protocol", ["local", "gpfs"])
def test_a_file_elsewhere_is_not_attached(pool: Path, tmp_path: Path, protocol: str) -> None:
    for allowed in (below(pool), NOWHERE):
        with pytest.raises(
            InvalidRequest, match=r"secret is outside the paths allowed for volumes on this node.*local_paths"
        ):
            Initiator(tmp_path, allowed=allowed).connect(local(tmp_path / "secret", protocol))
    assert str(tmp_path / "secret") not in loopctl.attached().values()


@pytest.mark.root
def test_a_file_below_an_allowed_directory_is_attached(pool: Path, tmp_path: Path) -> None:
    initiator = Initiator(tmp_path, allowed=below(tmp_path / "other", pool))
    device = initiator.connect(local(pool / "inner/volume", "gpfs"))
    assert device.file == str(pool / "inner/volume")
    initiator.disconnect(local(pool / "inner/volume", "gpfs"), device)
    assert device.file not in loopctl.attached().values()


def test_nothing_leads_out_of_an_allowed_directory(pool: Path, tmp_path: Path) -> None:
    (pool / "link").symlink_to(tmp_path / "secret")
    (pool / "ladder").symlink_to(tmp_path)
    (pool / "inside").symlink_to(pool / "volume")
    os.mkfifo(pool / "pipe")
    for path in ("link", "ladder/secret", "inside", "pipe", "inner", "../secret", "inner/../../secret", "volume/x"):
        with pytest.raises(InvalidRequest):
            below(pool).locate(f"{pool}/{path}")
    for odd in (str(pool), f"{pool}x", f"{pool}-2/volume", "volume", "", "/", f"{pool}/volume\0"):
        with pytest.raises(InvalidRequest):
            below(pool).locate(odd)


@pytest.mark.root
def test_a_device_node_that_somebody_made_in_an_allowed_directory_is_refused(pool: Path) -> None:
    os.mknod(pool / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    with pytest.raises(InvalidRequest, match="is not a regular file"):
        below(pool).locate(str(pool / "disk"))


def test_an_allowed_directory_may_itself_be_a_link(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "given").symlink_to(pool)
    for path in (tmp_path / "given/volume", pool / "volume"):
        assert below(f"{tmp_path}//given/").locate(f"{path.parent}/./{path.name}").path == str(pool / "volume")
    with pytest.raises(HostError, match="does not exist"):
        below(pool).locate(str(pool / "absent"))


@pytest.mark.root
def test_a_device_is_allowed_by_its_name_in_dev_and_only_if_it_is_one(pool: Path, tmp_path: Path) -> None:
    loop = devices.attach_file(str(pool / "volume"))
    group, made = Path("/dev/shm") / f"vg-{os.getpid()}", []
    try:
        group.mkdir()
        made = [group / "lv", group / "file", group / "out"]
        (group / "lv").symlink_to(loop)
        (group / "file").write_bytes(bytes(MIB))
        (group / "out").symlink_to(tmp_path / "secret")
        assert below(group).locate(str(group / "lv")).path == loop
        assert below(f"{loop[:-1]}*").locate(loop).path == loop
        assert below(loop).locate(loop).path == loop
        for path in made[1:]:
            with pytest.raises(InvalidRequest, match="is not a block device"):
                below(group).locate(str(path))
        for character in ("/dev/null", "/dev/loop-control"):
            with pytest.raises(InvalidRequest, match="is not a block device"):
                below("/dev").locate(character)
        with pytest.raises(InvalidRequest, match="is outside"):
            below(group, pool, "/dev/drbd*", "/dev/shm/v*").locate(loop)
        with pytest.raises(InvalidRequest, match="is outside"):
            below("/dev/sh*").locate(str(group / "lv"))
    finally:
        for path in made:
            path.unlink(missing_ok=True)
        group.rmdir()
        devices.detach_from(str(pool / "volume"))


@pytest.fixture
def secret_device(tmp_path: Path) -> Iterator[str]:
    """Somebody else has that file on a loop device."""
    loop = devices.attach_file(str(tmp_path / "secret"))
    yield loop
    devices.detach_file(loop, expected=devices.identity(loop))


@pytest.mark.root
@pytest.mark.parametrize("form", ["link", "name", "pipe"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_takes_the_place_of_another_one_meanwhile_is_not_used(
    pool: Path, tmp_path: Path, secret_device: str, form: str, *, read_only: bool
) -> None:
    class Raced(AllowedPaths):
        def locate(self, path: str) -> Place:
            place = super().locate(path)
            (pool / "volume").unlink()
            if form == "link":
                (pool / "volume").symlink_to(tmp_path / "secret")
            elif form == "name":
                (pool / "volume").hardlink_to(tmp_path / "secret")
            else:
                os.mkfifo(pool / "volume")
            return place

    initiator = Initiator(tmp_path, allowed=Raced(lambda: [str(pool)]))
    with pytest.raises(HostError, match=r"was replaced by another file|cannot attach .*/pool/volume: "):
        initiator.connect(replace(local(pool / "volume"), read_only=read_only))
    assert [path for path in loopctl.attached().values() if str(tmp_path) in path] == [str(tmp_path / "secret")]
    assert loopctl.backing_path(int(secret_device.removeprefix("/dev/loop"))) == str(tmp_path / "secret")


@pytest.mark.root
@pytest.mark.parametrize("way", ["secret", "pool/link", "pool/ladder/secret"])
def test_what_is_no_volume_here_is_not_detached_either(
    pool: Path, tmp_path: Path, secret_device: str, way: str
) -> None:
    """After an attach that was refused, NodeStageVolume lets go of the volume by its connection alone."""
    (pool / "link").symlink_to(tmp_path / "secret")
    (pool / "ladder").symlink_to(tmp_path)
    initiator = Initiator(tmp_path, allowed=below(pool))
    with pytest.raises(InvalidRequest):
        initiator.connect(local(tmp_path / way))
    initiator.disconnect(local(tmp_path / way))
    assert loopctl.backing_path(int(secret_device.removeprefix("/dev/loop"))) == str(tmp_path / "secret")


@pytest.mark.root
def test_a_link_in_the_place_of_a_volume_that_was_attached_detaches_nothing_else(
    pool: Path, tmp_path: Path, secret_device: str
) -> None:
    initiator = Initiator(tmp_path, allowed=below(pool))
    device = initiator.connect(local(pool / "volume"))
    initiator.disconnect(local(pool / "volume"), device)
    (pool / "volume").unlink()
    (pool / "volume").symlink_to(tmp_path / "secret")
    initiator.disconnect(local(pool / "volume"), device)  # as after a crash before the record was removed
    assert loopctl.backing_path(int(secret_device.removeprefix("/dev/loop"))) == str(tmp_path / "secret")


def test_a_path_elsewhere_is_not_below_a_directory(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is outside"):
        file_below(str(pool), str(tmp_path / "secret"))
    with pytest.raises(InvalidRequest, match="must not contain"):  # Scality's connector joins it with the export
        file_below(str(pool), f"{pool}/../secret")


def test_a_process_that_makes_its_own_connections_names_what_it_likes(pool: Path, tmp_path: Path) -> None:
    (pool / "link").symlink_to(tmp_path / "secret")
    assert ANYWHERE.locate(str(pool / "link")).path == str(tmp_path / "secret")


KEYRING = '[client.cinder]\n\tkey = AQBzLc==\n\tcaps mon = "profile rbd"\n'
RBD = {"name": "pool/image", "cluster_name": "ceph", "auth_username": "cinder", "hosts": ["192.0.2.1", "[2001:db8::1]"]}
LIGHTOS = {"uuid": "8bd5d5cd-eb5f-4d6a-9f07-43e8d5a7cbd3"}
LIGHTOS_NODE = {"transport_type": "tcp", "target_portal": "192.0.2.1", "target_port": 4420}
NFS = {"export": "192.0.2.1:/x y", "name": "v"}


@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        ("nfs", {**NFS, "options": "--bind"}),
        ("nfs", {**NFS, "options": "-o vers=4,bind"}),
        ("nfs", {**NFS, "options": "-obind"}),
        ("nfs", {**NFS, "options": "-o RBind"}),
        ("nfs", {**NFS, "options": "-o offset=0"}),
        ("nfs", {**NFS, "options": "-o ro,verity.hashdevice=/dev/sda"}),
        ("glusterfs", {**NFS, "options": "-o acl -o log-file=/etc/cron.d/x"}),
        ("nfs", {**NFS, "options": "-t ext4"}),
        ("nfs", {**NFS, "options": "-o"}),
        ("glusterfs", {**NFS, "export": "--bind"}),
        ("nfs", {**NFS, "export": "h:/x\ny"}),
        ("rbd", {**RBD, "name": "../sda"}),
        ("rbd", {**RBD, "name": "pool/../../sda"}),
        ("rbd", {**RBD, "name": "pool"}),
        ("rbd", {**RBD, "name": "pool/--options=nocephx_sign_messages"}),
        ("rbd", {**RBD, "cluster_name": "../../root/x"}),
        ("rbd", {**RBD, "auth_username": "a/b"}),
        ("rbd", {**RBD, "hosts": ["192.0.2.1\nlog_file = /etc/cron.d/x"]}),
        ("rbd", {**RBD, "keyring": f"{KEYRING}log_file = /etc/cron.d/x"}),
        ("lightos", {"uuid": "../../etc/cron.d/x"}),
        ("lightos", {**LIGHTOS, "subsysnqn": "nqn.a -p /etc/x"}),
        ("lightos", {**LIGHTOS, "lightos_nodes": {"a": {**LIGHTOS_NODE, "target_portal": "192.0.2.1\n-t pcie"}}}),
        ("nvmeof", {"alias": "../sda"}),
        ("nvme", {"alias": ".."}),
        ("iscsi", {"target_iqn": "../../x"}),
        ("iser", {"target_iqns": ["iqn.a", "iqn/b"]}),
        ("iscsi", {"target_lun": "0/../../../../../../devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0"}),
        ("iscsi", {"target_lun": "*"}),
        ("iser", {"target_luns": [1, "-"]}),
        ("iscsi", {"target_portal": "192.0.2.1:3260/../x"}),
    ],
)
def test_a_name_that_would_be_a_path_or_a_line_or_an_option_is_refused(
    protocol: str, data: Mapping[str, object]
) -> None:
    with pytest.raises(InvalidRequest, match=r"publish_context: '.*' of the connection contains forbidden characters"):
        check(protocol, data)


@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        ("nfs", {**NFS, "options": "-o vers=4.2,minorversion=1 -onoatime"}),
        ("nfs", {**NFS, "options": None}),
        ("rbd", {**RBD, "keyring": KEYRING, "ports": ["6789"]}),
        ("rbd", {**RBD, "keyring": None}),
        (
            "lightos",
            {**LIGHTOS, "subsysnqn": "nqn.2016-01.com.lightbitslabs:uuid:a", "lightos_nodes": {"a": LIGHTOS_NODE}},
        ),
        ("nvmeof", {"target_nqn": "nqn.a"}),
        ("nvmeof", {"alias": "volume-1"}),
        ("iscsi", {"target_iqn": "iqn.2010-10.org.openstack:volume-1", "target_portals": ["[2001:db8::1]:3260"]}),
        ("iscsi", {"target_lun": 0, "target_luns": [1, "16640"], "target_portal": "192.0.2.1:3260,1"}),
        ("iscsi", {"target_portals": ["[fe80::1%eth0]:3260", "array.example.org:3260"]}),
        ("fibre_channel", {"target_lun": 3, "target_luns": None}),
    ],
)
def test_names_that_back_ends_give_pass(protocol: str, data: Mapping[str, object]) -> None:
    check(protocol, data)


def test_where_the_configuration_keeps_files_is_allowed(tmp_path: Path) -> None:
    def allowed(**raw: object) -> set[str]:
        return set(local_paths.allowed(parse({"state_dir": str(tmp_path), **raw}, environment={})))

    files = {"driver": LOOP_FILES, "options": {"loopfile_directories": ["fast:/srv/fast", "/srv/big"]}}
    text = {"driver": LOOP_FILES, "options": {"loopfile_directories": "a:/srv/a, /srv/b"}}
    default = f"{tmp_path}/volumes"
    assert allowed() == {default}
    assert allowed(mode="node", local_paths=["/dev/vg1", "/dev/drbd*"]) == {default, "/dev/vg1", "/dev/drbd*"}
    assert allowed(backends={"f": files, "t": text}) == {default, "/srv/fast", "/srv/big", "/srv/a", "/srv/b"}
    assert allowed(backends={"f": {"driver": LOOP_FILES}}) == {default, f"{tmp_path}/cinder/volumes"}
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x.yaml").write_text(
        f"late: {{driver: {LOOP_FILES}, options: {{loopfile_directories: [/srv/late]}}}}"
    )
    assert allowed(backends_directory=str(tmp_path / "d")) == {default, "/srv/late"}
    for odd in ("srv", "/srv/*/x", "/srv/../etc"):
        with pytest.raises(ConfigurationError, match="local_paths"):
            allowed(local_paths=[odd])

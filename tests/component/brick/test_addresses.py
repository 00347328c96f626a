"""Which connections lead to one device."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from csi_cinderlib.brick.addresses import addresses_of
from csi_cinderlib.model.connection import Connection

ISCSI = {"target_iqn": "iqn.2024-01.example:a", "target_portal": "192.0.2.1:3260", "target_lun": 1}
MANY = {
    "target_portals": ["192.0.2.9:3260", "192.0.2.1:3260"],
    "target_iqns": ["iqn.2024-01.example:b", "iqn.2024-01.example:a"],
    "target_luns": [1, 1],
}
FC = {"target_wwn": ["50060E8000000001"], "target_lun": 3}
UUID = "11111111-2222-3333-4444-555555555555"
NVME = {"target_nqn": "nqn.x", "vol_uuid": UUID}
NFS = {"export": "192.0.2.1:/x", "name": "volume-1"}

Side = tuple[str, Mapping[str, object]]


def meet(one: Side, other: Side) -> bool:
    first, second = (addresses_of(Connection(volume_id="v", protocol=kind, data=data)) for kind, data in (one, other))
    return not first.isdisjoint(second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("iscsi", ISCSI), ("iser", {**ISCSI, "target_iqn": "IQN.2024-01.example:a", "target_lun": "1"})),
        (("iscsi", ISCSI), ("iscsi", MANY)),
        (("iscsi", ISCSI), ("iscsi", {**ISCSI, "target_portal": "192.0.2.1:3260,1"})),
        (("nvmeof", NVME), ("nvme", {"nqn": "nqn.y", "vol_uuid": UUID.upper().replace("-", "")})),
        (("nvmeof", NVME), ("nvmeof", {"alias": "a", "volume_replicas": [{"target_nqn": "nqn.z", "vol_uuid": UUID}]})),
        (("nvmeof", {"nqn": "nqn.x", "ns_id": 1}), ("nvmeof", {"target_nqn": "nqn.x", "ns_id": "1"})),
        (("nfs", NFS), ("glusterfs", NFS)),
        (("local", {"device_path": "/srv/v"}), ("local", {"path": "/srv/v"})),
        (("rbd", {"name": "pool/v", "hosts": ["a"]}), ("rbd", {"name": "pool/v"})),
        (("lightos", {"uuid": UUID}), ("lightos", {"uuid": UUID})),
    ],
)
def test_one_address_in_whatever_spelling(one: Side, other: Side) -> None:
    assert meet(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("iscsi", ISCSI), ("iscsi", {**ISCSI, "target_lun": 11})),
        (("iscsi", ISCSI), ("iscsi", {**ISCSI, "target_portal": "192.0.2.2:3260"})),
        (("iscsi", MANY), ("iscsi", {**MANY, "target_luns": [2, 2]})),
        (("iscsi", MANY), ("iscsi", {**MANY, "target_luns": None, "target_lun": 0})),
        (("fibre_channel", FC), ("fibre_channel", FC)),
        (("nvmeof", NVME), ("nvmeof", {"target_nqn": "nqn.x", "ns_id": 1})),
        (("nfs", NFS), ("nfs", {**NFS, "name": "volume-2"})),
        (("nfs", NFS), ("nfs", {**NFS, "export": "192.0.2.1:/y"})),
        (("nfs", {}), ("nfs", {})),
        (("iscsi", {}), ("iscsi", {})),
        (("nvmeof", {}), ("nvmeof", {"alias": "a"})),
        (("vmdk", {"volume": "x"}), ("vmdk", {"volume": "x"})),
    ],
)  # fmt: skip
def test_different_addresses_or_none(one: Side, other: Side) -> None:
    assert not meet(one, other)

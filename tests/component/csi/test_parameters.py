"""Class parameters: read once, compared without what the sidecars add."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_cinderlib.csi.requests import parameters
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount


def test_every_parameter_finds_its_place() -> None:
    found = parameters.storage_class(
        {
            "backend": "array1",
            "pool": "ssd",
            "type": "gold",
            "extraSpecs/netapp:thin": "true",
            "qos/maxIOPS": "500",
            "mkfsOptions": "-i 65536 -L 'my disk'",
            "csi.storage.k8s.io/fstype": "xfs",
            "csi.storage.k8s.io/pvc/name": "claim",
            "csi.storage.k8s.io/pv/name": "pv",
        }
    )
    assert (found.backend, found.pool, found.type, found.fs_type) == ("array1", "ssd", "gold", "xfs")
    assert found.extra_specs == {"netapp:thin": "true"}
    assert found.qos == {"maxIOPS": "500"}
    assert found.mkfs_options == ("-i", "65536", "-L", "my disk")
    assert found.labels == {"pvc/name": "claim", "pv/name": "pv"}


def test_the_sidecars_keys_are_never_compared() -> None:
    plain = parameters.storage_class({"pool": "a"})
    labelled = parameters.storage_class(
        {"pool": "a", "csi.storage.k8s.io/pvc/name": "x", "csi.storage.k8s.io/provisioner-secret-name": "y"}
    )
    assert plain.given == labelled.given == {"pool": "a"}


@pytest.mark.parametrize("old", ["fstype", "fsType"])
def test_the_old_names_of_the_file_system_parameter_mean_the_same(old: str) -> None:
    assert parameters.storage_class({old: "xfs"}) == parameters.storage_class({"csi.storage.k8s.io/fstype": "xfs"})


def test_an_unknown_key_is_named_with_the_one_it_may_have_meant() -> None:
    with pytest.raises(
        InvalidRequest, match=r"^parameters: unknown parameter 'mkfsoptions'; did you mean 'mkfsOptions'\?$"
    ):
        parameters.storage_class({"mkfsoptions": "x"})


def test_an_unknown_key_that_resembles_none_is_named_with_all_there_are() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parameters.storage_class({"zzz": "x"})
    for parameter in parameters.STORAGE_CLASS:
        assert parameter.key in str(caught.value)


def test_type_extra_specs_and_qos_may_be_changed_later() -> None:
    given = {"qos/maxIOPS": "5", "extraSpecs/a:b": "", "type": "gold"}
    assert parameters.mutable({**given, "csi.storage.k8s.io/pvc/name": "x"}) == given
    with pytest.raises(InvalidRequest, match="unknown parameter 'pool'"):
        parameters.mutable({"pool": "5"})


def test_snapshot_classes_have_no_parameters_but_labels() -> None:
    assert parameters.snapshot_class({"csi.storage.k8s.io/volumesnapshot/name": "s"}) == (
        {},
        {"volumesnapshot/name": "s"},
    )
    with pytest.raises(InvalidRequest, match="unknown parameter 'x'"):
        parameters.snapshot_class({"x": "y"})


def test_the_reference_describes_each_parameter_once_with_an_example_that_is_accepted() -> None:
    keys = [parameter.key for parameter in parameters.STORAGE_CLASS]
    assert len(set(keys)) == len(keys)
    for parameter in parameters.STORAGE_CLASS:
        assert parameter.meaning.endswith(".")
        key = parameter.key + "x" if parameter.is_prefix else parameter.key
        assert parameters.storage_class({key: parameter.example}) is not None


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5))
def test_whatever_is_given_is_either_understood_or_refused_by_name(values: dict[str, str]) -> None:
    try:
        found = parameters.storage_class(values)
    except InvalidRequest as refused:
        assert refused.field.startswith("parameters")
    else:
        assert len(found.given) + len(found.labels) <= len(values)


EXT4, XFS = (Capability(Mount(fs_type=name), AccessMode.SINGLE_NODE_WRITER) for name in ("ext4", "xfs"))
PLAIN, RAW = Capability(Mount(), AccessMode.SINGLE_NODE_WRITER), Capability(Block(), AccessMode.SINGLE_NODE_WRITER)
OF_XFS = {"mkfsOptions": "-s size=4096"}


@pytest.mark.parametrize("capabilities", [(XFS,), (RAW,), ()])
def test_mkfs_options_are_those_of_the_file_system_that_the_capability_names(
    capabilities: tuple[Capability, ...],
) -> None:
    found = parameters.storage_class(OF_XFS, capabilities=capabilities)
    assert found.mkfs_options == ("-s", "size=4096")


@pytest.mark.parametrize("capabilities", [(EXT4,), (PLAIN,), (XFS, EXT4)])
def test_mkfs_options_of_another_file_system_are_refused(capabilities: tuple[Capability, ...]) -> None:
    with pytest.raises(InvalidRequest, match=r"parameters\[mkfsOptions\]: option -s not recognized for mkfs\.ext4"):
        parameters.storage_class(OF_XFS, capabilities=capabilities)


def test_mkfs_options_are_those_of_the_class_where_the_capability_names_no_file_system() -> None:
    of_class = {**OF_XFS, "csi.storage.k8s.io/fstype": "xfs"}
    assert parameters.storage_class(of_class, capabilities=(PLAIN,)).fs_type == "xfs"
    with pytest.raises(InvalidRequest, match=r"mkfs\.ext4"):
        parameters.storage_class({**OF_XFS, "csi.storage.k8s.io/fstype": "ext4"})

"""Drivers' errors in our words."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.backend import libraries
from csi_cinderlib.cinder import faults
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    DriverError,
    InUse,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    ResourceExhausted,
    Unsupported,
)
from csi_cinderlib.model.records import Group, Provider
from tests.support.fakes import makers

RBD = "cinder.volume.drivers.rbd.RBDDriver"


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("VolumeIsBusy", InUse),
        ("SnapshotIsBusy", InUse),
        ("VolumeAttached", InUse),
        ("VolumeSizeExceedsAvailableQuota", ResourceExhausted),
        ("VolumeLimitExceeded", ResourceExhausted),
        ("InvalidConnectorException", InvalidRequest),
        ("InvalidVolumeType", InvalidRequest),
        ("InvalidInput", InvalidRequest),
        ("InvalidVolume", PreconditionFailed),
        ("InvalidSnapshot", PreconditionFailed),
        ("NotSupportedOperation", Unsupported),
        ("DriverNotInitialized", BackendUnavailable),
        ("VolumeBackendAPIException", BackendError),
        ("VolumeDriverException", BackendError),
        ("VolumeNotFound", BackendError),
    ],
)
def test_cinders_exceptions_become_ours_and_keep_their_words(
    runtime: Runtime, name: str, ours: type[DriverError]
) -> None:
    from cinder import exception

    error = faults.translate("array", getattr(exception, name)("the array's own words"))
    assert type(error) is ours
    assert "the array's own words" in str(error)
    assert "array" in str(error)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("Not enough free capacity in pool 3")],
)
def test_no_space_is_no_space_in_whatever_words(error: Exception) -> None:
    assert isinstance(faults.translate("array", error), ResourceExhausted)


@pytest.mark.parametrize("error", [ConnectionRefusedError("refused"), TimeoutError("timed out")])
def test_an_array_that_does_not_answer_is_worth_another_try(error: Exception) -> None:
    assert isinstance(faults.translate("array", error), BackendUnavailable)


def test_what_a_driver_does_not_implement_is_unsupported() -> None:
    assert isinstance(faults.translate("array", NotImplementedError()), Unsupported)


def test_our_own_errors_pass_as_they_are() -> None:
    error = NotFound("volume", "1")
    assert faults.translate("array", error) is error


def test_a_failed_command_shows_what_it_printed_and_no_password(runtime: Runtime) -> None:
    from oslo_concurrency.processutils import ProcessExecutionError

    error = ProcessExecutionError(cmd="iscsiadm --password 'topsecret'", stderr="  no\n such  target\n", exit_code=1)
    words = str(faults.translate("array", error))
    assert "no such target" in words
    assert "topsecret" not in words


def test_a_block_raises_only_ours_and_keeps_the_cause() -> None:
    cause = ValueError("odd")
    with pytest.raises(BackendError, match="odd") as caught, faults.translated("array"):
        raise cause
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("driver", [RBD, "cinder.volume.drivers.pure.PureISCSIDriver"])
def test_a_missing_library_is_named_with_the_way_to_install_it(driver: str) -> None:
    lacking = libraries.missing(driver, installed=lambda _module: False)
    assert lacking
    assert all("pip install" in one.advice or "apt-get install" in one.advice for one in lacking)
    assert libraries.missing(driver, installed=lambda _module: True) == ()


def test_set_up_without_its_library_is_a_matter_of_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "installed", lambda _module: False)
    error = faults.translate_setup("ceph", RBD, AttributeError("'NoneType' object has no attribute 'Rados'"))
    if libraries.missing(RBD):
        assert isinstance(error, ConfigurationError)
        assert "python3-rados" in str(error)
        assert error.key == "backends.ceph.driver"


def test_an_import_error_names_the_library_of_the_module() -> None:
    error = faults.translate_setup("x", "some.Driver", ImportError("No module named 'storops'", name="storops.lib"))
    assert isinstance(error, ConfigurationError)
    assert "pip install storops" in str(error)


def test_a_set_up_that_fails_may_succeed_later() -> None:
    error = faults.translate_setup("x", "some.Driver", RuntimeError("login failed"))
    assert isinstance(error, BackendUnavailable)
    assert "set-up failed: login failed" in str(error)


VOLUME = replace(makers.volume(), provider=Provider(id="60060160-1234-4321-8888-000000000007"))
LUN = replace(VOLUME, provider=Provider(location="7"))
SNAPSHOT = makers.snapshot(VOLUME)
GROUP = Group(id=makers.new_id(), backend="x")


@pytest.mark.parametrize(
    ("record", "name", "words"),
    [
        (VOLUME, "VolumeNotFound", VOLUME.id),
        (VOLUME, "VolumeNotFound", f"volume-{VOLUME.id}"),
        (VOLUME, "VolumeNotFound", f"volume{VOLUME.id.replace('-', '')}"),
        (VOLUME, "VolumeNotFound", VOLUME.id.upper()),
        (VOLUME, "VolumeNotFound", f"LUN {VOLUME.provider.id}"),
        (LUN, "VolumeNotFound", "LUN 7."),
        (SNAPSHOT, "SnapshotNotFound", SNAPSHOT.id),
        (GROUP, "GroupNotFound", GROUP.id),
    ],
    ids=["id", "name", "name without dashes", "upper case", "array's id", "LUN", "snapshot", "group"],
)
def test_what_is_gone_from_the_array_is_recognised(runtime: Runtime, record: Any, name: str, words: str) -> None:
    from cinder import exception

    assert faults.is_missing(getattr(exception, name)(words), record)


@pytest.mark.parametrize(
    ("record", "name", "words"),
    [
        (VOLUME, "VolumeNotFound", makers.new_id()),
        (VOLUME, "VolumeNotFound", "LUN 7"),
        (VOLUME, "VolumeNotFound", ""),
        (LUN, "VolumeNotFound", "LUN 17"),
        (LUN, "VolumeNotFound", "LUN 7-1"),
        (LUN, "VolumeNotFound", "10.0.0.7"),
        (LUN, "VolumeNotFound", "LUN 7.5"),
        (VOLUME, "SnapshotNotFound", VOLUME.id),
        (SNAPSHOT, "VolumeNotFound", SNAPSHOT.volume_id),
        (SNAPSHOT, "SnapshotNotFound", makers.new_id()),
        (GROUP, "GroupSnapshotNotFound", GROUP.id),
        (VOLUME, "VolumeBackendAPIException", f"{VOLUME.id} does not exist"),
    ],
    ids=[
        "other volume",
        "some LUN",
        "no words",
        "other LUN",
        "part of a name",
        "address",
        "decimal",
        "snapshot of the volume",
        "volume of the snapshot",
        "other snapshot",
        "snapshot of the group",
        "prose",
    ],
)
def test_what_is_said_of_something_else_is_no_proof(runtime: Runtime, record: Any, name: str, words: str) -> None:
    from cinder import exception

    assert not faults.is_missing(getattr(exception, name)(words), record)

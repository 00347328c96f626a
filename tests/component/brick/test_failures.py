"""os-brick's errors in words: without secrets, and with what a program needs to raise them by their own class."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from oslo_concurrency.processutils import ProcessExecutionError

from csi_cinderlib.brick import BrickFailure, exception_chainer, exception_class
from csi_cinderlib.brick.failures import in_words
from csi_cinderlib.errors import HostError, NoAnswer
from csi_cinderlib.model.connection import Connection

SECRET = "s3cret-canary"
CONNECTION = Connection(volume_id="vol", protocol="iscsi", data={"auth_password": SECRET})


def failure(error: Exception) -> BrickFailure:
    with pytest.raises(BrickFailure) as caught, in_words("connect", CONNECTION):
        raise error
    return caught.value


def test_the_attributes_of_the_error_are_kept_without_secrets() -> None:
    known = failure(ProcessExecutionError(cmd=f"iscsiadm {SECRET}", exit_code=7, stderr=f"bad {SECRET}"))
    assert known.kind is ProcessExecutionError
    assert (known.values["cmd"], known.values["exit_code"], known.values["stderr"]) == ("iscsiadm ***", 7, "bad ***")
    kind: Any = exception_class("VolumeDeviceNotFound")
    brick = failure(kind(device=[f"/dev/{SECRET}"]))
    assert brick.values["kwargs"]["device"] == ["/dev/***"]
    assert SECRET not in repr((str(known), str(brick), brick.values))
    assert known.__cause__ is None
    assert known.__suppress_context__


def test_an_error_of_this_package_is_not_changed() -> None:
    with pytest.raises(NoAnswer), in_words("connect", CONNECTION):
        raise NoAnswer("share is away")


def test_a_failure_is_restored_as_a_host_error() -> None:
    """A process without os-brick cannot load the class of its exception."""
    known = failure(exception_class("BrickException")("no"))
    restored = pickle.loads(pickle.dumps(known))
    assert (type(restored), str(restored)) == (HostError, "cannot connect volume vol (iscsi): BrickException: no")


def test_a_chain_collects_errors() -> None:
    chain = exception_chainer()
    assert not chain
    chain.add_exception(KeyError, KeyError("a"), None)
    assert chain

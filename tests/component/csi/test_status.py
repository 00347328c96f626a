"""The one table of codes."""

from __future__ import annotations

import errno
import inspect

import grpc
import pytest

from csi_cinderlib import errors
from csi_cinderlib.csi import status
from csi_cinderlib.csi.capabilities import CapabilityRefused
from csi_cinderlib.observe import redact

TREE = [kind for _name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.DriverError)]


def test_every_error_of_the_domain_has_its_own_row() -> None:
    assert set(TREE) == set(status.CODES)


def test_the_drawing_of_the_tree_shows_every_error() -> None:
    drawing = errors.__doc__ or ""
    assert [kind.__name__ for kind in TREE if kind.__name__ not in drawing] == []


def test_no_error_is_called_by_a_code_that_the_specification_does_not_know() -> None:
    allowed = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
               "OUT_OF_RANGE", "INTERNAL", "UNAVAILABLE", "UNAUTHENTICATED"}  # fmt: skip
    assert {code.name for code in status.CODES.values()} == allowed


def test_work_that_may_go_on_is_never_called_by_a_final_code() -> None:
    going_on = {grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE}
    for kind in (
        errors.OperationPending,
        errors.StaleRecord,
        errors.StoreUnavailable,
        errors.BackendUnavailable,
        errors.NotReady,
    ):
        assert status.CODES[kind] in going_on


def test_a_subclass_that_has_no_row_takes_that_of_its_nearest_ancestor() -> None:
    assert status.code(CapabilityRefused("f", "p")) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("error", [KeyError("x"), OSError("x"), MemoryError(), RecursionError()])
def test_what_nobody_foresaw_is_internal_and_its_text_stays_in_the_log(error: Exception) -> None:
    assert status.code(error) is grpc.StatusCode.INTERNAL
    assert status.message(error, "r1") == f"unexpected {type(error).__name__}; see request r1 in the log"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EIO, "a driver's words"), "Input/output error"),
        (FileExistsError(errno.EEXIST, "exists", "/staging/path"), "/staging/path: File exists"),
        (PermissionError(errno.EACCES, "no", "/p?password='canary'"), "/p?password=***: Permission denied"),
    ],
)
def test_an_error_of_the_operating_system_says_which_and_about_what(error: OSError, said: str) -> None:
    assert status.code(error) is grpc.StatusCode.INTERNAL
    assert status.message(error, "r1") == f"{said}; see request r1 in the log"


@pytest.mark.parametrize("said", ["", "  \n"])
def test_a_message_is_never_empty(said: str) -> None:
    assert status.message(errors.HostError(said), "r1") == "HostError without a message; see request r1 in the log"


def test_a_message_is_short_enough_for_a_header_and_can_be_encoded() -> None:
    shown = status.message(errors.HostError("\udcff" + "é" * 100_000), "r1")
    assert len(shown) == status.LONGEST_MESSAGE
    assert len(shown.encode()) < 8192
    assert shown.endswith(" ...")


def test_a_message_shows_no_secret() -> None:
    error = errors.BackendError("array", "auth_password='canary1' and canary2")
    with redact.hiding(["canary2"]):
        assert status.message(error, "r1") == "back end 'array': auth_password=*** and ***"

"""Maps errors to gRPC codes, and prepares their messages for the wire."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

import grpc

from csi_cinderlib import errors
from csi_cinderlib.observe import redact

CODES: Mapping[type[errors.DriverError], grpc.StatusCode] = MappingProxyType(
    {
        errors.DriverError: grpc.StatusCode.INTERNAL,
        errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
        errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,  # CreateVolume, "Unsupported `capacity_range`"
        errors.ConfigurationError: grpc.StatusCode.FAILED_PRECONDITION,  # an administrator must act first
        errors.StoreInUse: grpc.StatusCode.FAILED_PRECONDITION,
        errors.NotFound: grpc.StatusCode.NOT_FOUND,
        errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        errors.NameTaken: grpc.StatusCode.ALREADY_EXISTS,
        errors.OperationPending: grpc.StatusCode.ABORTED,  # general scheme, "Operation pending for volume"
        errors.BackendBusy: grpc.StatusCode.ABORTED,
        errors.StaleRecord: grpc.StatusCode.ABORTED,
        errors.PreconditionFailed: grpc.StatusCode.FAILED_PRECONDITION,
        errors.InUse: grpc.StatusCode.FAILED_PRECONDITION,
        errors.UnsafeToFormat: grpc.StatusCode.FAILED_PRECONDITION,
        errors.WrongKey: grpc.StatusCode.UNAUTHENTICATED,  # general scheme, "Not authenticated": the caller fixes the secrets
        errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
        errors.Unsupported: grpc.StatusCode.INVALID_ARGUMENT,  # UNIMPLEMENTED would mean that the whole call is unsupported
        errors.NotReady: grpc.StatusCode.UNAVAILABLE,
        errors.LeaseLost: grpc.StatusCode.UNAVAILABLE,
        errors.CorruptRecord: grpc.StatusCode.INTERNAL,
        errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,  # the provisioner treats this as "may still be in progress"
        errors.BackendError: grpc.StatusCode.INTERNAL,
        errors.BackendUnavailable: grpc.StatusCode.UNAVAILABLE,
        errors.HostError: grpc.StatusCode.INTERNAL,
        errors.NoAnswer: grpc.StatusCode.UNAVAILABLE,  # the kubelet does not treat a call with this code as finished
    }
)

LONGEST_MESSAGE = 2000
"""Characters. The message is sent in an HTTP/2 header; many clients limit all headers to 8 KiB."""


def code(error: BaseException) -> grpc.StatusCode:
    """The code of the nearest class in the table; INTERNAL for an unexpected error."""
    for kind in type(error).__mro__:
        if found := CODES.get(kind):
            return found
    return grpc.StatusCode.INTERNAL


def message(error: BaseException, request_id: str) -> str:
    """The message for the caller: never empty, without secrets.

    An unexpected error is only named; its details are in the log. An OSError also names the file and the error.
    """
    log = f"see request {request_id} in the log"
    if isinstance(error, OSError) and error.errno:
        about = f"{error.filename}: " if error.filename else ""
        return _shorten(_printable(f"{about}{os.strerror(error.errno)}; {log}"))
    if not isinstance(error, errors.DriverError):
        return f"unexpected {type(error).__name__}; {log}"
    return _shorten(_printable(str(error))) or f"{type(error).__name__} without a message; {log}"


def _printable(said: str) -> str:
    return redact.text(said).encode("utf-8", "replace").decode().strip()


def _shorten(said: str) -> str:
    return said if len(said) <= LONGEST_MESSAGE else said[: LONGEST_MESSAGE - 4] + " ..."

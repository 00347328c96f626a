"""The exceptions of this package.

    DriverError
    ├── InvalidRequest            a field of a call is invalid (names the field)
    │   └── OutOfRange            a size or limit cannot be met
    ├── ConfigurationError        one or more settings are invalid (names the key paths)
    │   └── StoreInUse            another process uses the metadata store, which only one can
    ├── NotFound                  a volume, snapshot, node, group ... does not exist
    ├── AlreadyExists             a different object already uses the id or path
    │   └── NameTaken             the back end has an object of this name that this driver did not create
    ├── OperationPending          another call is in progress for this object: retry later
    │   ├── BackendBusy           the back end has reached its limit of concurrent calls
    │   └── StaleRecord           another call changed the record first: read it again
    ├── PreconditionFailed        the state of the object does not allow the call
    │   ├── InUse                 it is attached, or has dependents
    │   └── UnsafeToFormat        the device may contain data
    ├── WrongKey                  the key of an encrypted volume is wrong
    ├── ResourceExhausted         no space, no free slot on the node, or a quota is reached
    ├── Unsupported               the back end or host does not support the operation
    ├── NotReady                  this process is still starting, or failed to start
    │   └── LeaseLost             this process is not, or no longer, the active controller
    ├── CorruptRecord             a stored record cannot be read (names the id)
    ├── StoreUnavailable          the metadata store cannot be reached right now
    ├── BackendError              the Cinder driver failed (keeps the driver's message)
    │   └── BackendUnavailable    the back end is not set up, or cannot be reached right now
    └── HostError                 a device, mount or tool on this host failed
        └── NoAnswer              a share or device does not respond, possibly for ever

`csi_cinderlib.csi.status` maps these to gRPC codes. There is no gRPC in this module.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

E = TypeVar("E", bound=BaseException)


class Restorable(Exception):
    """An exception that can be copied and pickled, whatever the arguments of its constructor are.

    The cause is lost. `resource`, an object of the library, stays with a copy in this process, and is lost in a pickle.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (type(self), self.args, without_process(self.__dict__))


class DriverError(Restorable):
    """The base class of all exceptions that this package raises.

    Attributes:
        name_exists: set by a creation if the back end may already have an object of that name.
    """

    name_exists = False


class Local:
    """A value of this process in the state of an exception: a copy has it, and a pickle has None instead."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Local:
        return Local(copy.deepcopy(self.value, memo))


def without_process(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an exception, with a `resource` that a pickle omits."""
    return {name: Local(value) if name == "resource" else value for name, value in attributes.items()}


def restored(kind: type[E], args: tuple[Any, ...], attributes: Mapping[str, Any]) -> E:
    """Restore an exception without its constructor, whose arguments differ between the classes."""
    error = kind.__new__(kind, *args)
    error.args = args
    return with_attributes(error, attributes)


def with_attributes(error: E, attributes: Mapping[str, Any]) -> E:
    """The exception with attributes from `without_process`."""
    for name, value in attributes.items():
        if name != "resource":
            setattr(error, name, value)
        elif isinstance(value, Local):
            setattr(error, name, value.value)
    return error


class InvalidRequest(DriverError):
    """A field of the call is missing or invalid.

    Args:
        field: path of the field as the caller knows it, for example `capacity_range.required_bytes`.
        problem: the problem as a clause, for example "must not be empty".
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class OutOfRange(InvalidRequest):
    """The requested size or limit cannot be met."""


class Problem(NamedTuple):
    """A problem with one setting.

    Attributes:
        key: the key path, for example `backends.array1.options.san_ip`.
        problem: the problem and, where it helps, the remedy.
    """

    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}"


class ConfigurationError(DriverError):
    """Settings are missing or invalid. The text has one line for each problem.

    Args:
        key, problem: the first problem, see `Problem`.
        more: the other problems.

    Attributes:
        problems: all problems.
    """

    def __init__(self, key: str, problem: str, more: Iterable[Problem] = ()) -> None:
        self.problems = (Problem(key, problem), *more)
        super().__init__("\n".join(map(str, self.problems)))

    @property
    def key(self) -> str:
        return self.problems[0].key

    @property
    def problem(self) -> str:
        return self.problems[0].problem

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> ConfigurationError:
        """Combine problems; there must be at least one."""
        first, *others = problems
        return cls(first.key, first.problem, others)

    def within(self, prefix: str) -> ConfigurationError:
        """Return the same problems with a prefix before each key."""
        return self.renamed(lambda key: prefix + key)

    def renamed(self, rename: Callable[[str], str]) -> ConfigurationError:
        """Return the same error with other keys: its class and its other attributes stay, so that callers can tell it apart."""
        renamed = type(self).of(Problem(rename(key), problem) for key, problem in self.problems)
        vars(renamed).update({name: value for name, value in vars(self).items() if name != "problems"})
        return renamed


class Problems:
    """Collects all problems instead of stopping at the first: `with problems: ...` suppresses a ConfigurationError of its block."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def add(self, key: str, problem: str) -> None:
        self._found.setdefault(Problem(key, problem))

    @property
    def keys(self) -> set[str]:
        return {key for key, _ in self._found}

    @property
    def all(self) -> tuple[Problem, ...]:
        return tuple(self._found)

    def raise_all(self) -> None:
        """Raises ConfigurationError if there are any problems."""
        if self._found:
            raise ConfigurationError.of(self._found)

    def __enter__(self) -> Problems:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, ConfigurationError):
            return False
        self._found.update(dict.fromkeys(error.problems))
        return True


class StoreInUse(ConfigurationError):
    """Another process uses the metadata store, which does not support several.

    Attributes:
        holder: its process id, if known.
    """

    holder: int | None = None


class NotFound(DriverError):
    """No object of the kind has the id, or the object is being deleted.

    Args:
        kind: "volume", "snapshot", "node", "group snapshot", "back end" ...
        problem: the problem as a clause.
    """

    def __init__(self, kind: str, id: str, problem: str = "does not exist") -> None:
        super().__init__(f"{kind} {id!r} {problem}")
        self.kind = kind
        self.id = id


class AlreadyExists(DriverError):
    """The id or path is in use by an object that differs from the request."""

    def __init__(self, kind: str, id: str, difference: str = "") -> None:
        super().__init__(f"{kind} {id!r} already exists" + (f": {difference}" if difference else ""))
        self.kind = kind
        self.id = id
        self.difference = difference


class NameTaken(AlreadyExists):
    """The back end already has an object of the requested name, and this driver did not create it."""


class OperationPending(DriverError):
    """Another call is in progress for this object; the caller retries."""


class BackendBusy(OperationPending):
    """The back end has reached its limit of concurrent calls. The refused call has changed nothing."""


class StaleRecord(OperationPending):
    """The record changed since it was read; the caller reads it again.

    Args:
        value: the name of the value that both calls changed, if known.
    """

    def __init__(self, kind: str, id: str, value: str = "") -> None:
        remedy = f"which also changed {value}; call refresh(), and set it again" if value else "retry"
        super().__init__(f"{kind} {id!r} was changed by another call" + (", " if value else "; ") + remedy)
        self.kind = kind
        self.id = id
        self.value = value


class PreconditionFailed(DriverError):
    """The state of the object does not allow the call."""


class InUse(PreconditionFailed):
    """The object is attached, or other objects depend on it."""


class UnsafeToFormat(PreconditionFailed):
    """The device may contain data, so it is not formatted."""


class WrongKey(DriverError):
    """The Secret does not contain the key of an encrypted volume; nothing was changed."""


class ResourceExhausted(DriverError):
    """No space, no free slot on the node, or a limit is reached."""


class Unsupported(DriverError):
    """The back end or this host does not support the operation; a retry cannot succeed."""


class NotReady(DriverError):
    """This process is still starting, or failed to start; the message tells which."""


class LeaseLost(NotReady):
    """This process does not hold the lease of the active controller, so it must not call drivers or change records."""


class CorruptRecord(DriverError):
    """A stored record cannot be read. Other records are not affected."""

    def __init__(self, kind: str, id: str, problem: str) -> None:
        super().__init__(f"cannot read the record of {kind} {id!r}: {problem}")
        self.kind = kind
        self.id = id


class StoreUnavailable(DriverError):
    """The metadata store did not respond. Nothing was changed, or a retry detects the change."""


class BackendError(DriverError):
    """The Cinder driver failed.

    Args:
        backend: name of the back end.
        message: message of the driver.
    """

    def __init__(self, backend: str, message: str) -> None:
        super().__init__(f"back end {backend!r}: {message}")
        self.backend = backend
        self.message = message


class BackendUnavailable(BackendError):
    """The back end is not set up yet, or cannot be reached."""


class HostError(DriverError):
    """A device, a mount or a tool on this host failed."""


class NoAnswer(HostError):
    """A share or device does not respond. The operation on it may still be running; the caller retries."""

"""What can go wrong, in the words of the domain.

    DriverError
    ├── InvalidRequest            a field of a call is wrong (names the field)
    │   └── OutOfRange            a size or limit that cannot be met
    ├── ConfigurationError        one or more settings are wrong (names the key paths)
    ├── NotFound                  volume, snapshot, node, group ... with that id does not exist
    ├── AlreadyExists             that id or path is taken by something that differs
    │   └── NameTaken             by an object on the back end that this driver did not create
    ├── OperationPending          another call works on this object: retry later
    │   ├── BackendBusy           the back end has as many calls under way as it may have
    │   └── StaleRecord           somebody else changed the record first: read again
    ├── PreconditionFailed        the object is in a state that forbids the call
    │   ├── InUse                 attached, or has dependents
    │   └── UnsafeToFormat        the device may hold data
    ├── ResourceExhausted         no space, no slot on the node, quota
    ├── Unsupported               this back end cannot do that
    ├── NotReady                  this process is still starting, or could not
    │   └── LeaseLost             it is not the active controller, or not any more
    ├── CorruptRecord             a stored record cannot be read (names the id)
    ├── StoreUnavailable          the metadata store cannot be reached right now
    ├── BackendError              the Cinder driver failed (keeps the driver's message)
    │   └── BackendUnavailable    it is not set up, or cannot be reached right now
    └── HostError                 a device, mount or tool on this host failed
        └── NoAnswer              a share or device does not answer, and may never do so

No gRPC here: `csi_cinderlib.csi.status` maps these to codes, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, NamedTuple


class DriverError(Exception):
    """The root of all errors that this package raises on purpose. They can be pickled, without what caused them.

    Attributes:
        name_exists: of a creation: the back end may have an object of that name already.
    """

    name_exists = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[DriverError], args: tuple[Any, ...], attributes: dict[str, Any]) -> DriverError:
    """Its own constructor takes other arguments."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class InvalidRequest(DriverError):
    """A field of the call is missing or wrong.

    Args:
        field: the field's path as the caller knows it, `capacity_range.required_bytes` say.
        problem: what is wrong with it, as a clause: "must not be empty".
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class OutOfRange(InvalidRequest):
    """The size or limit asked for cannot be met."""


class Problem(NamedTuple):
    """What is wrong with one setting.

    Attributes:
        key: the key path, `backends.array1.options.san_ip` say.
        problem: what is wrong, and where it helps, what would be right.
    """

    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}"


class ConfigurationError(DriverError):
    """Settings are missing or wrong. Its text has a line for each problem.

    Args:
        key, problem: of the first one, as in `Problem`.
        more: the others.

    Attributes:
        problems: all of them.
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
        """At least one."""
        first, *others = problems
        return cls(first.key, first.problem, others)

    def within(self, prefix: str) -> ConfigurationError:
        """The same with this in front of every key."""
        return type(self).of(Problem(prefix + key, problem) for key, problem in self.problems)


class Problems:
    """Collects ConfigurationErrors instead of stopping at the first: `with problems: ...` swallows those of its block."""

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
        """Raises ConfigurationError if there are any."""
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


class NotFound(DriverError):
    """Nothing of that kind has that id, or nothing that will stay.

    Args:
        kind: "volume", "snapshot", "node", "group snapshot", "back end" ...
        id: what was looked for.
        problem: as a clause.
    """

    def __init__(self, kind: str, id: str, problem: str = "does not exist") -> None:
        super().__init__(f"{kind} {id!r} {problem}")
        self.kind = kind
        self.id = id


class AlreadyExists(DriverError):
    """The id or path is taken by something that differs from what was asked."""

    def __init__(self, kind: str, id: str, difference: str = "") -> None:
        super().__init__(f"{kind} {id!r} already exists" + (f": {difference}" if difference else ""))
        self.kind = kind
        self.id = id
        self.difference = difference


class NameTaken(AlreadyExists):
    """The back end has an object of the name that this driver gives, and this driver did not create it."""


class OperationPending(DriverError):
    """Another call already works on this object; the caller retries."""


class BackendBusy(OperationPending):
    """The back end has as many calls under way as it may have. Nothing of the refused call was begun."""


class StaleRecord(OperationPending):
    """The record changed since it was read; the caller reads it again."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"{kind} {id!r} was changed by somebody else meanwhile")
        self.kind = kind
        self.id = id


class PreconditionFailed(DriverError):
    """The object is in a state in which the call must not be carried out."""


class InUse(PreconditionFailed):
    """It is attached, or something depends on it."""


class UnsafeToFormat(PreconditionFailed):
    """The device may hold data, so no file system is made on it."""


class ResourceExhausted(DriverError):
    """No space, no free slot on the node, or a limit is reached."""


class Unsupported(DriverError):
    """The back end or this host cannot do what was asked, ever."""


class NotReady(DriverError):
    """This process is still starting, or could not: says which."""


class LeaseLost(NotReady):
    """This process does not hold the lease of the active controller, so it calls no driver and changes no record."""


class CorruptRecord(DriverError):
    """One stored record cannot be read; the others are not affected."""

    def __init__(self, kind: str, id: str, problem: str) -> None:
        super().__init__(f"the record of {kind} {id!r} cannot be read: {problem}")
        self.kind = kind
        self.id = id


class StoreUnavailable(DriverError):
    """The metadata store did not answer; nothing was changed, or a retry will find out."""


class BackendError(DriverError):
    """The Cinder driver failed.

    Args:
        backend: the back end's name.
        message: the driver's own message.
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
    """A share or a device does not answer for now. What was asked of it may go on; the caller repeats its call."""

"""Option values with references to other options."""

from __future__ import annotations

from collections.abc import Mapping

from csi_cinderlib.model.records import EMPTY


class Verbatim(str):
    """A value in the notation of oslo.config: `$name` refers to another option, and a comma separates items.

    An option that is given several times is a list of these.

    Attributes:
        resolved: the value with references replaced, as far as the file contains the options.
        referred: values of the referenced options by name, including indirect references.
    """

    __slots__ = ("referred", "resolved")
    resolved: str
    referred: Mapping[str, str]

    def __new__(cls, text: str, resolved: str = "", referred: Mapping[str, str] = EMPTY) -> Verbatim:
        value = super().__new__(cls, text)
        value.resolved, value.referred = resolved or text, referred
        return value


class Inherited(Verbatim):
    """A value from [backend_defaults]. As in Cinder, it applies to back ends whose drivers have the option."""

    __slots__ = ()


class Referenced(Verbatim):
    """A value from [DEFAULT] that another option refers to by `$name`."""

    __slots__ = ()


class Referring(str):
    """A value given to the library: `$name` refers to an option if there is one of that name. Other characters have no meaning."""

    __slots__ = ()


def is_inherited(value: object) -> bool:
    """Whether the value of an option, or the first of its values, is from [backend_defaults]."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, Inherited)

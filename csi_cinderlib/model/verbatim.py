"""Values of a cinder.conf."""

from __future__ import annotations

from collections.abc import Mapping

from csi_cinderlib.model.records import EMPTY


class Verbatim(str):
    """A value as it stands in a cinder.conf, in oslo.config's own notation: `$name` refers to another option, a comma ends an
    item. One that is given several times is a list of these.

    Attributes:
        resolved: with the values of other options in place of their names, as far as the file has them.
        referred: these options' values by name, also of those that they refer to in turn.
    """

    __slots__ = ("referred", "resolved")
    resolved: str
    referred: Mapping[str, str]

    def __new__(cls, text: str, resolved: str = "", referred: Mapping[str, str] = EMPTY) -> Verbatim:
        value = super().__new__(cls, text)
        value.resolved, value.referred = resolved or text, referred
        return value


class Inherited(Verbatim):
    """One from [backend_defaults]: as in Cinder, it goes to the back ends whose drivers have such an option."""

    __slots__ = ()


class Referenced(Verbatim):
    """One of [DEFAULT] that another option refers to by `$name`."""

    __slots__ = ()


def is_inherited(value: object) -> bool:
    """Whether an option's value, or the first of its values, is from [backend_defaults]."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, Inherited)

"""The functions of cinderlib's module `utils`: lists of objects by id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Identified(Protocol):
    """A volume, snapshot or connection."""

    @property
    def id(self) -> str: ...


I = TypeVar("I", bound=Identified)  # noqa: E741  # identified


def find_by_id(resource_id: str, elements: Sequence[I] | None) -> tuple[int, I] | tuple[None, None]:
    """The index and the object of that id; (None, None) if there is none."""
    for index, element in enumerate(elements or ()):
        if element.id == resource_id:
            return index, element
    return None, None


def add_by_id(resource: I, elements: list[I] | None) -> None:
    """Replace the object of the same id, or append it. A list that is None stays None."""
    if elements is None:
        return
    index, _ = find_by_id(resource.id, elements)
    if index is None:
        elements.append(resource)
    else:
        elements[index] = resource

"""What is known of the BackendConfiguration objects. Values only, which need neither a cluster nor its client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from csi_cinderlib.config.objects import FINALIZER
from csi_cinderlib.config.settings import BackendSettings

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the spec of an object is not in effect.

    Attributes:
        reason: one word, for programs.
        message: for people, with the key path and the remedy.
    """

    reason: str
    message: str


NAME_IN_USE = "NameInUse"
INVALID = "InvalidSpec"
NOT_CLAIMED = "NotClaimed"
ABSENT = "SecretNotFound"
UNREADABLE = "SecretNotReadable"
UNREAD = "SecretNotReadYet"


@dataclass(frozen=True, slots=True)
class Declared:
    """An object that configures a back end.

    Attributes:
        name: of the back end. That of its claim, if it has one.
        found: the object as the API returned it.
        is_owner: whether the back end is claimed for this object.
    """

    name: str
    found: Json
    is_owner: bool = False

    @property
    def object(self) -> str:
        return str(self.found["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.found["metadata"]["uid"])

    @property
    def spec(self) -> Json:
        spec: Json = self.found["spec"]
        return spec

    @property
    def wanted(self) -> str:
        """The name of the back end according to the spec."""
        return str(self.spec.get("name") or self.object)

    @property
    def generation(self) -> int:
        return int(self.found["metadata"].get("generation", 0))

    @property
    def is_deleting(self) -> bool:
        return bool(self.found["metadata"].get("deletionTimestamp"))

    @property
    def is_kept(self) -> bool:
        """Whether it has the finalizer."""
        return FINALIZER in self.found["metadata"].get("finalizers", [])


@dataclass(frozen=True, slots=True)
class State:
    """An object, and either the settings that it gives its back end, or why it gives none now."""

    declared: Declared
    settings: BackendSettings | None = None
    refusal: Refusal | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether its back end is to be configured by this object, which is not accepted yet."""
        return self.settings is None and not self.declared.is_deleting


@dataclass(frozen=True, slots=True)
class Reading:
    """The objects as they were read.

    Attributes:
        held: the back ends that are claimed for objects, and by which, for messages. Nothing else may configure them, whether their
            objects are accepted, refused, or not known yet.
        unreadable: those of them whose claim cannot be read.
        unlisted: those of them whose object could not be read yet.
    """

    states: tuple[State, ...]
    held: Mapping[str, str]
    unreadable: frozenset[str] = frozenset()
    unlisted: frozenset[str] = frozenset()

"""The releases of OpenStack whose databases can be read, by the number that Cinder's migrations leave in them. Pure.

Up to Wallaby the number is that of sqlalchemy-migrate, in the table `migrate_version`. From Xena on it is Alembic's revision, in the table
`alembic_version`; the older table stays until 2023.2 removes it. The numbers are facts of Cinder's repository, by its release tags.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from csi_cinderlib.errors import ConfigurationError

KEY = "--url"
OLDEST, NEWEST = "Train (2019.10)", "2026.1"

LEGACY: Mapping[int, str] = {
    132: OLDEST,
    136: "Ussuri (2020.05)",
    140: "Victoria (2020.10)",
    141: "Wallaby (2021.04)",
}
"""Releases by version of sqlalchemy-migrate (Cinder 15 to 18)."""
ALEMBIC: Mapping[str, str] = {
    "921e1a36b076": "Xena (2021.10) or Yoga (2022.03)",
    "c92a3e68beed": "Zed (2022.10)",
    "daa98075b90d": "2023.1 (Antelope)",
    "89aa6f9639f9": "2023.2 (Bobcat)",
    "9c74c1c6971f": f"2024.1 (Caracal) to {NEWEST}",
}
"""Releases by revision of Alembic (Cinder 19 and later)."""
UNFINISHED: Mapping[str, str] = dict.fromkeys(("b8660621f1b9", "9ab1b092a404", "b7b88f50aab5"), "2024.1 (Caracal)")
"""Revisions that no release ends with, and the release whose migration passes through them."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release of OpenStack; several releases can have the same schema.

    Attributes:
        schema: the version number in the database.
    """

    name: str
    schema: str

    def __str__(self) -> str:
        return f"OpenStack {self.name}, schema {self.schema}"


def identify(shown: str, alembic: Collection[str], legacy: Collection[int]) -> Release:
    """The release of a database.

    Args:
        shown: the database for people.
        alembic: content of `alembic_version`; empty without this table.
        legacy: versions of the repository `cinder` in `migrate_version`; empty without this table.

    Raises:
        ConfigurationError: the release is unknown, or its migration is not finished.
    """
    if len(alembic) == 1 or (not alembic and len(legacy) == 1):
        return _by_revision(shown, next(iter(alembic))) if alembic else _by_number(shown, next(iter(legacy)))
    problem = (
        "has no version of Cinder's schema" if not (alembic or legacy) else "has several versions of Cinder's schema"
    )
    raise ConfigurationError(KEY, f"{shown} {problem}, so its release is unknown; {_SUPPORTED}")


def _by_revision(shown: str, revision: str) -> Release:
    if revision in ALEMBIC:
        return Release(ALEMBIC[revision], revision)
    if revision in UNFINISHED:
        raise ConfigurationError(
            KEY, f"{shown}: schema {revision!r} is within the migration to {UNFINISHED[revision]}; {_FINISH}"
        )
    raise ConfigurationError(KEY, f"{shown}: schema {revision!r} is of an unknown release of Cinder; {_SUPPORTED}")


def _by_number(shown: str, number: int) -> Release:
    if number in LEGACY:
        return Release(LEGACY[number], str(number))
    if number < min(LEGACY):
        raise ConfigurationError(
            KEY,
            f"{shown}: schema {number} is of a release before {OLDEST}; upgrade it to Train with Cinder's own tools",
        )
    following = min((known for known in LEGACY if known > number), default=0)
    release = LEGACY[following] if following else "Xena (2021.10)"
    if number > 145:
        raise ConfigurationError(KEY, f"{shown}: schema {number} is of an unknown release of Cinder; {_SUPPORTED}")
    raise ConfigurationError(KEY, f"{shown}: schema {number} is within the migration to {release}; {_FINISH}")


_SUPPORTED = f"supported: {OLDEST} to {NEWEST}"
_FINISH = "finish it with `cinder-manage db sync`"

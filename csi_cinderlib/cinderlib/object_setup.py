"""cinderlib's `objects.setup`: a set-up with the parts of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csi_cinderlib.cinderlib import default

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, PersistenceDriverBase


def setup(
    persistence_driver: PersistenceDriverBase,
    backend_class: type[Backend] | None,  # noqa: ARG001  # cinderlib's signature; each set-up has its class
    project_id: str | None,
    user_id: str | None,
    non_uuid_ids: bool,
) -> None:
    """Set up the library with this persistence, project and user; `setup` does so too. An existing set-up is changed.

    Args:
        persistence_driver: a plugin, or `Backend.persistence` to keep that of the set-up.
        backend_class: not used.
        non_uuid_ids: suppress warnings about ids that are not UUIDs.
    """
    library = default.current()
    if library is None:
        default.setup(
            persistence_config={"storage": persistence_driver},
            project_id=project_id,
            user_id=user_id,
            non_uuid_ids=non_uuid_ids,
        )
        return
    if persistence_driver is not library.persistence:
        library.set_persistence({"storage": persistence_driver})
    library.project_id = project_id or default.DEFAULT_PROJECT_ID
    library.user_id = user_id or default.DEFAULT_USER_ID
    library.non_uuid_ids = non_uuid_ids

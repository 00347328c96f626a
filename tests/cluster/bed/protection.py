"""Does what Kubernetes' controllers do with deleted volumes and claims, beside an API server without controllers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client

_VOLUMES, _CLAIMS = "/api/v1/persistentvolumes", "/api/v1/namespaces/{}/persistentvolumeclaims"


@contextmanager
def protecting(admin: Client, namespace: str) -> Iterator[None]:
    """Let a deleted claim of the namespace go, and a deleted imported PersistentVolume once it has no claim."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.3):
            with suppress(ApiError):
                _let_go(admin, namespace)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _let_go(admin: Client, namespace: str) -> None:
    for path in (_CLAIMS.format(namespace), _VOLUMES):
        for item in admin.get(path)["items"]:
            metadata = item["metadata"]
            user = item["spec"].get("claimRef") or {}
            held = metadata.get("finalizers") or []
            rest = [name for name in held if not name.startswith("kubernetes.io/")]
            if metadata.get("deletionTimestamp") and rest != held and not _exists(admin, user):
                admin.merge(f"{path}/{metadata['name']}", {"metadata": {"finalizers": rest}})


def _exists(admin: Client, user: dict[str, Any]) -> bool:
    if not user.get("name"):
        return False
    try:
        return bool(admin.get(f"{_CLAIMS.format(user['namespace'])}/{user['name']}"))
    except ApiError as error:
        if error.status == 404:
            return False
        raise

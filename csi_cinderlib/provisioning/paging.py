"""Tokens and limits of the list calls."""

from __future__ import annotations

from csi_cinderlib.errors import OperationPending

_AFTER = "after:"


def start(token: str) -> str:
    """The id after which a list goes on.

    Raises:
        OperationPending: the token is not one of ours (spec: ABORTED, "start over").
    """
    if not token:
        return ""
    after = token.removeprefix(_AFTER)
    if after == token or not after:
        raise OperationPending(
            f"starting_token {token[:64]!r} was not issued by this driver: list again from the start"
        )
    return after


def token(next: str) -> str:
    return _AFTER + next if next else ""


def size(limit: int, most: int) -> int:
    """How many entries a page has: never more than `most`, since an answer must fit into a gRPC message."""
    return min(limit, most) if limit else most

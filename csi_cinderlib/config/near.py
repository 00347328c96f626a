"""Suggestions for unknown names."""

from __future__ import annotations

from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str], *, limit: int = 3, label: str = "supported") -> str:
    """The end of an error message: "did you mean 'san_ip'?", or all known names if they are few, or "".

    Args:
        label: the word before all known names; for example "configured" for names that users have chosen.
    """
    import difflib  # needed for mistakes only

    choice = sorted(known)
    near = difflib.get_close_matches(name, choice, n=limit, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"{label}: {', '.join(choice)}" if 0 < len(choice) <= 30 else ""


def unknown(what: str, name: str, known: Iterable[str], *, label: str = "supported") -> str:
    """The problem "unknown key 'x'; did you mean 'y'?"."""
    hint = suggestion(name, known, label=label)
    return f"unknown {what} {name!r}" + (f"; {hint}" if hint else "")

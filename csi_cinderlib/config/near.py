"""What somebody who mistyped a name probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """A clause that ends an error message: "did you mean 'san_ip'?", or the whole choice when it is short, or ""."""
    import difflib  # only a mistake pays for it

    choice = sorted(known)
    near = difflib.get_close_matches(name, choice, n=limit, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"known are {', '.join(choice)}" if 0 < len(choice) <= 30 else ""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The problem "unknown key 'x'; did you mean 'y'?"."""
    hint = suggestion(name, known)
    return f"unknown {what} {name!r}" + (f"; {hint}" if hint else "")

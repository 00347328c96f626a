"""What must not be seen: credentials in messages, mappings and text, whatever library wrote them.

Two nets: keys whose names say that their values are secret, and the very values that the current call or a back end was given,
wherever they turn up. Which fields of a CSI message are secret, `csi.secrets` knows.
"""

from __future__ import annotations

import base64
import itertools
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

HIDDEN = "***"
SHORTEST_SECRET = 4
"""Shorter values are not looked for in text: hiding every "on" would hide the log and protect nothing."""

_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|secret|credential|(^|[_\-.])pass$|(^|[_\-.])(token|pin|otp)$"
    r"|(private|auth|access|api|encryption|sealing|keyring|chap)[_\-.]?keys?$|^keyring$"
    r"|^(proxy-)?authorization$",
    re.IGNORECASE,
)
# Every repetition is bounded: a driver's message of a megabyte must not cost more than its length.
_NAME = r"(?:passw(?:or)?d|passphrase|secret|credential|token|(?:private|auth|access|api)_?key)[\w\-.]{0,40}"
_VALUE = r"""(?:u?"[^"]*"|u?'[^']*'|[^\s,;&}\])'"]+)"""
_ASSIGNED = re.compile(
    rf"""(?P<key>{_NAME}["']?\s{{0,9}}=>?\s{{0,9}}       # password=x, secret => x
        |{_NAME}["']\s{{0,9}}:\s{{0,9}}                  # 'password': x
        |{_NAME}\s{{0,9}}:\s{{0,9}}(?=u?["'])            # password: "x"; bare words after a colon are prose
        |--[\w\-]{{0,40}}?{_NAME}["']?,?\s{{1,9}}["']?   # --password x, also as a list of arguments
        |{_NAME}["']?,?\s{{1,9}}["']?-v["']?,?\s{{1,9}}["']?  # iscsiadm's -n node.session.auth.password -v x
        |authorization["']?\s{{0,9}}:\s{{0,9}}b?["']?(?:Basic|Bearer|Token)\s{{1,9}}  # Basic is base64 of user:password
        ){_VALUE}""",
    re.IGNORECASE | re.VERBOSE,
)
_PARTS = ("pass", "secret", "cred", "token", "key", "authorization")
"""One of these is in all that `_ASSIGNED` finds, once the case is folded."""
_IN_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.\-]{0,30}://[^\s/:@]{0,200}):[^\s/@]{1,500}@", re.IGNORECASE)
_BY_PLACE = re.compile(  # the LVM driver's tool takes CHAP passwords so, and Cinder logs its command when it fails
    r"(?P<before>\bcinder-rtstool\s(?:create\s\S{1,300}|add-initiator)\s\S{1,300}\s\S{1,300})\s\S{1,300}"
)

_URL_SAFE = str.maketrans("+/", "-_")

_hidden: ContextVar[tuple[str, ...]] = ContextVar("hidden", default=())
_guard = threading.Lock()
_hidden_in_process: list[tuple[str, ...]] = []
_longest_in_process: list[str] = []
"""All of these in order: hundreds, with many back ends, and each line of a log needs them."""


@lru_cache(maxsize=1024)
def is_secret_key(key: str) -> bool:
    """Whether a key's name says that its value is secret: auth_password, san_password, encryption_key ..."""
    return bool(_SECRET_KEY.search(key))


def mapping(values: Mapping[str, object]) -> dict[str, object]:
    """A copy for people: secret values replaced, to any depth."""
    return {str(key): HIDDEN if value and is_secret_key(str(key)) else _any(value) for key, value in values.items()}


def secrets_in(values: Mapping[str, object]) -> Iterator[str]:
    """The values, to any depth, whose keys say that they are secret, in each form in which a driver may see them."""
    for key, value in values.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, Mapping):
                yield from secrets_in(item)
            elif item and is_secret_key(str(key)):
                yield from _forms(str(item))
            elif isinstance(item, str):
                yield from secrets_in(_pairs(item))


def _forms(secret: str) -> Iterator[str]:
    """As configured; without the quotes, blanks and doubled dollar signs that a cinder.conf may have around and in it; and in base64."""
    bare = secret.strip()
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
        bare = bare[1:-1].strip()
    plain = dict.fromkeys((secret, bare, bare.replace("$$", "$")))
    yield from plain
    for value in plain:
        yield from _in_base64(value)


def _in_base64(secret: str) -> Iterator[str]:
    """What base64 makes of it within a longer text, `user:password` for example, wherever it begins there.

    A character at either end that also depends on what stands beside it is left out.
    """
    octets = secret.encode(errors="replace")
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + octets).decode()
        own = encoded[-(-8 * before // 6) : 8 * (before + len(octets)) // 6]
        yield from dict.fromkeys((own, own.translate(_URL_SAFE)))


def _pairs(text: str) -> dict[str, object]:
    """The `key:value` pairs of a dictionary option (`replication_device`) as a cinder.conf has it."""
    return {
        key.strip(): value for key, separator, value in (item.partition(":") for item in text.split(",")) if separator
    }


def known(value: str) -> str:
    """Text without the very values that are hidden now."""
    hidden = _hidden.get()
    for secret in _longest_first((*_longest_in_process, *hidden)) if hidden else _longest_in_process:
        value = value.replace(secret, HIDDEN)
    return value


def hidden() -> tuple[str, ...]:
    """What `hiding` hides in this thread."""
    return _hidden.get()


def text(value: str) -> str:
    """Text without the current call's secrets, `password=...` and `scheme://user:password@`."""
    value = known(value)
    # Most of what is logged is ids and paths: a look for a word takes a fiftieth of the time that a pattern takes to find nothing.
    if "cinder-rtstool" in value:
        value = _BY_PLACE.sub(rf"\g<before> {HIDDEN}", value)
    folded = value.casefold()
    if any(part in folded for part in _PARTS):
        value = _ASSIGNED.sub(rf"\g<key>{HIDDEN}", value)
    return _IN_URL.sub(rf"\g<scheme>:{HIDDEN}@", value) if "://" in value else value


@contextmanager
def hiding(values: Iterable[str]) -> Iterator[None]:
    """While this lasts, in this thread, `text` also hides these very values."""
    token = _hidden.set((*_long_enough(values), *_hidden.get()))
    try:
        yield
    finally:
        _hidden.reset(token)


def hide_in_process(values: Iterable[str]) -> Callable[[], None]:
    """Let `text` hide these very values in every thread, since drivers log from threads of their own.

    Returns:
        ends it.
    """
    hidden = _long_enough(values)
    _change_in_process(_hidden_in_process.append, hidden)
    return lambda: _change_in_process(_hidden_in_process.remove, hidden)


def _change_in_process(change: Callable[[tuple[str, ...]], None], hidden: tuple[str, ...]) -> None:
    global _longest_in_process  # noqa: PLW0603  # it follows from the list beside it
    with _guard:
        change(hidden)
        _longest_in_process = _longest_first(set(itertools.chain.from_iterable(_hidden_in_process)))


def _long_enough(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(value for value in values if len(value) >= SHORTEST_SECRET)


def _longest_first(values: Iterable[str]) -> list[str]:
    """So that one which contains another is hidden whole."""
    return sorted(values, key=len, reverse=True)


def _any(value: object) -> object:
    if isinstance(value, Mapping):
        return mapping(value)
    if isinstance(value, list | tuple):
        return [_any(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else text(str(value))

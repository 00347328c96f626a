"""Hides credentials in messages, mappings and text, including those of libraries.

It hides values of keys with secret names, and the secret values of the current call and of back ends wherever they occur, in any of
their `spellings`. `csi.secrets` determines the secret fields of CSI messages.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import cached_property, lru_cache
from urllib.parse import unquote

from csi_cinderlib.errors import BackendError
from csi_cinderlib.model.verbatim import Verbatim
from csi_cinderlib.observe.context_values import Setting
from csi_cinderlib.observe.spellings import Index, Spelling, spellings

HIDDEN = "***"

_SECRET_KEY = re.compile(
    r"passw(or)?d(?!less|_len)|passphrase|passcode|secret|credential|(^|[_\-.])pass$|pwd$|tokens?$|(^|[_\-.])(pin|otp|jwt)$"
    r"|(private|auth|access|api|session|encryption|sealing|keyring|chap|ceph)[_\-.]?keys?$|^keyring$"
    r"|^j?session-?id$|^(set-)?cookies?$|^(proxy-)?authorization$"
    r"|^synology_device_id$",  # with it, Synology asks for no one-time password
    re.IGNORECASE,
)
# Every repetition is bounded or possessive, so that the time is linear even for a message of a megabyte.
_NAME = (
    r"(?:passw(?:or)?d|passphrase|secret|credential|token|jwt|(?:private|auth|access|api|session)_?key)[\w\-.]{0,40}"
)
_QUOTE = r"""\\{0,8}["']"""
_VALUE = (
    r"""(?:u?"(?:[^"\\]|\\[\s\S])*+"|u?'(?:[^'\\]|\\[\s\S])*+'|\\{1,8}"[^"]{0,9999}"|\\{1,8}'[^']{0,9999}'"""
    r"""|["']?[^\s,;&}\])'"]+)"""  # a truncated line may lack the closing quotation mark
)
_ASSIGNED = re.compile(
    rf"""(?P<key>{_NAME}(?:
            (?:{_QUOTE})?\s{{0,9}}=>?\s{{0,9}}           # password=x, secret => x
            |{_QUOTE}\s{{0,9}}:\s{{0,9}}                 # 'password': x, \"password\": \"x\"
            |\s{{0,9}}:\s{{0,9}}(?=u?{_QUOTE})           # password: "x"; bare words after a colon are prose
            |["']?,?\s{{1,9}}["']?-v["']?,?\s{{1,9}}["']?  # iscsiadm's -n node.session.auth.password -v x
        )
        |authorization["']?\s{{0,9}}:\s{{0,9}}b?["']?(?:Basic|Bearer|Token)\s{{1,9}}  # Basic is base64 of user:password
        ){_VALUE}""",
    re.IGNORECASE | re.VERBOSE,
)
_FLAG = re.compile(  # --password x, also as a list of arguments
    rf"""(?P<key>--[\w\-]{{0,40}}?{_NAME}["']?,?\s{{1,9}}["']?){_VALUE}""", re.IGNORECASE
)
_ELEMENT = re.compile(rf"(?P<tag><[\w:.\-]{{0,40}}?{_NAME}(?:\s[^<>]{{0,200}})?>)[^<]{{1,9999}}(?=</)", re.IGNORECASE)
_PARTS = ("pass", "secret", "cred", "token", "jwt", "key", "authorization")
"""Every match of these patterns contains one of these parts, after case folding."""
_IN_URL = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.\-]{0,30}://[^\s/:@]{0,200}):(?P<password>[^\s/@]{1,500})@", re.IGNORECASE
)
_BY_PLACE = re.compile(  # positional CHAP password of the LVM driver's tool; Cinder logs its command line when it fails
    r"(?P<before>\bcinder-rtstool\s(?:create\s\S{1,300}|add-initiator)\s\S{1,300}\s\S{1,300})\s\S{1,300}"
)

_KEY_IN_KEYRING = re.compile(r"\bkey\s*=\s*(\S+)")
"""A keyring of Ceph is a section with a name and a key."""


_SWITCHES = frozenset({"true", "false", "yes", "no", "on", "off", "none", "null"})
"""Ordinary words of messages, not secrets."""
_PATH = re.compile(r"(/[\w.\-]+)+")


class _Values:
    """Values that `hiding` hides. Their spellings need much more memory, so they are computed at the first log line."""

    def __init__(self, values: Iterable[str]) -> None:
        self.values = tuple(values)

    @cached_property
    def spellings(self) -> tuple[Spelling, ...]:
        return _united(
            _in_process.get(value) or spellings(value) for value in self.values
        )  # these values may outlive those of the process


_hidden: ContextVar[tuple[_Values, ...]] = ContextVar("hidden", default=())
_guard = threading.Lock()
os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_guard.release)
_hidden_in_process: list[tuple[str, ...]] = []
_in_process: dict[str, tuple[Spelling, ...]] = {}
"""By value. With many back ends there are thousands."""
_index_in_process = Index()
"""Index of their spellings, because each log line is searched for them."""


@lru_cache(maxsize=1024)
def is_secret_key(key: str) -> bool:
    """Whether the name of a key implies a secret value: auth_password, san_password, encryption_key ..."""
    return bool(_SECRET_KEY.search(key))


def mapping(values: Mapping[str, object]) -> dict[str, object]:
    """A copy with all secret values replaced, at any depth."""
    return {str(key): HIDDEN if value and is_secret_key(str(key)) else _any(value) for key, value in values.items()}


def holds_secret(key: str, value: object) -> bool:
    """Whether `mapping` would hide something in a value of plain data (as in JSON), by its key or at any depth."""
    return mapping({key: value}) != {key: value}


def secrets_in(options: Mapping[str, object]) -> Iterator[str]:
    """Values of secret keys at any depth, both as configured and as the driver gets them."""
    for key, value in options.items():
        if is_secret_key(str(key)):
            leaves = (leaf for leaf in _leaves(value) if not _is_path_of_key(str(key), leaf))
            yield from itertools.chain.from_iterable(map(_as_understood, leaves))
        for inner in _mappings(value):
            yield from secrets_in(inner)


def all_in(value: object) -> Iterator[str]:
    """All texts of a value that is secret by its origin, also the parts that a driver makes of it: items of lists and of mappings."""
    for leaf in _leaves(value):
        yield from _as_understood(leaf)
        if isinstance(leaf, str):
            items = [item.strip() for item in leaf.split(",")]
            parts = [*items, *(str(part) for item in items for part in _pairs(item).values())]
            yield from (part for part in parts if part and part.lower() not in _SWITCHES)
            yield from secrets_in({"text": leaf})


def texts_in(value: object) -> Iterator[str]:
    """All texts in a value at any depth, and the items of those that are lists."""
    for leaf in _leaves(value):
        yield from str(leaf).split(",")


def _leaves(value: object) -> Iterator[object]:
    """The values of a secret key at any depth, without switches."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        yield from itertools.chain.from_iterable(map(_leaves, value))
    elif value and not isinstance(value, bool) and str(value).strip().lower() not in _SWITCHES:
        yield value


def _is_path_of_key(key: str, value: object) -> bool:
    """Drivers read options like `san_private_key` from a file. Messages should show its path."""
    return key.endswith("private_key") and bool(_PATH.fullmatch(str(value)))


def _mappings(value: object) -> Iterator[Mapping[str, object]]:
    """Mappings in a value at any depth, also those in text: `key:value` pairs, a URL, references to other options."""
    if isinstance(value, Mapping):
        yield value
    elif isinstance(value, list | tuple):
        yield from itertools.chain.from_iterable(map(_mappings, value))
    elif isinstance(value, str):
        yield _pairs(value)
        yield {
            "password": [
                form for found in _IN_URL.finditer(value) for form in (found["password"], unquote(found["password"]))
            ]
        }
        if isinstance(value, Verbatim):
            yield {**value.referred}
            yield _pairs(value.resolved)


def _as_understood(value: object) -> Iterator[str]:
    """The value as configured, and without quotes, blanks and escaped dollar signs of a cinder.conf."""
    for text in (str(value), value.resolved) if isinstance(value, Verbatim) else (str(value),):
        bare = text.strip()
        if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
            bare = bare[1:-1].strip()
        yield from dict.fromkeys((text, bare, bare.replace("\\$", "$$").replace("$$", "$")))
        yield from _KEY_IN_KEYRING.findall(text)


def _pairs(text: str) -> dict[str, object]:
    """The `key:value` pairs of a dictionary option (`replication_device`) of a cinder.conf."""
    return {
        key.strip(): value for key, separator, value in (item.partition(":") for item in text.split(",")) if separator
    }


def of_backend(error: Exception, secrets: Iterable[str]) -> str:
    """The message of an error of a back end without these secrets. Drivers quote their options in messages."""
    with hiding(secrets):
        return text(error.message if isinstance(error, BackendError) else str(error))


def known(value: str) -> str:
    """Text without the currently hidden values."""
    found = _index_in_process.find(value)
    found += [spelling for own in _hidden.get() for spelling in own.spellings if spelling.anchor in value]
    for spelling in sorted(
        found, key=_length, reverse=True
    ):  # a spelling that contains another one is hidden as a whole
        value = spelling.hide(value, HIDDEN)
    return value


def without(value: str, secrets: Iterable[str]) -> str:
    """Text without these values."""
    with hiding(secrets):
        return known(value)


def hidden() -> tuple[str, ...]:
    """The values that `hiding` hides in this thread."""
    return tuple(value for own in _hidden.get() for value in own.values)


def text(value: str) -> str:
    """Text without the current call's secrets, `password=...` and `scheme://user:password@`."""
    value = known(value)
    # Most log lines contain only ids and paths. A substring search takes a fiftieth of the time of a failing pattern.
    if "cinder-rtstool" in value:
        value = _BY_PLACE.sub(rf"\g<before> {HIDDEN}", value)
    folded = value.casefold()
    if any(part in folded for part in _PARTS):
        if "--" in folded:
            value = _FLAG.sub(rf"\g<key>{HIDDEN}", value)
        value = _ASSIGNED.sub(rf"\g<key>{HIDDEN}", value)
        if "</" in folded:
            value = _ELEMENT.sub(rf"\g<tag>{HIDDEN}", value)
    return _IN_URL.sub(rf"\g<scheme>:{HIDDEN}@", value) if "://" in value else value


def hiding(values: Iterable[str]) -> Setting[tuple[_Values, ...]]:
    """In the block, `text` also hides these values in this thread."""
    return Setting(_hidden, (_Values(values), *_hidden.get()))


def hide_in_process(values: Iterable[str]) -> Callable[[], None]:
    """Hide these values in every thread, because drivers log from their own threads.

    Returns:
        a function that ends this.
    """
    hidden = tuple(values)
    _change_in_process(_hidden_in_process.append, hidden)
    return lambda: _change_in_process(_hidden_in_process.remove, hidden)


def _change_in_process(change: Callable[[tuple[str, ...]], None], hidden: tuple[str, ...]) -> None:
    global _in_process, _index_in_process  # noqa: PLW0603  # derived from `_hidden_in_process`
    with _guard:
        change(hidden)
        values = set(itertools.chain.from_iterable(_hidden_in_process))
        _in_process = {value: _in_process.get(value) or spellings(value) for value in values}
        _index_in_process = Index(_united(_in_process.values()))


def _united(several: Iterable[Iterable[Spelling]]) -> tuple[Spelling, ...]:
    """Without duplicates: a line of a value, or the unquoted value, may be another value."""
    return tuple({spelling.secret: spelling for spelling in itertools.chain.from_iterable(several)}.values())


def _length(spelling: Spelling) -> int:
    return len(spelling.secret)


def _any(value: object) -> object:
    if isinstance(value, Mapping):
        return mapping(value)
    if isinstance(value, list | tuple):
        return [_any(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else text(str(value))

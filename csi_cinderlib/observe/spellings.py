"""The forms in which a secret may occur in text: quoted, escaped, encoded, or line by line."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import chain
from urllib.parse import quote, quote_plus

SHORTEST = 4
"""Shorter values are not hidden: to hide every "on" would make logs unreadable and protect nothing."""
SHORTEST_WITHIN_WORDS = 6
"""Shorter values are hidden only as whole words: the password "admin" does not hide a part of "administrator"."""

_PLAIN = re.compile(r"[A-Za-z0-9]+")
"""Characters that every encoding except base64 leaves unchanged."""
_PIECE = 4
"""Number of characters of an anchor that are used as an index key."""
_STRETCH = 16 * 1024
"""Characters."""
_LOOK, _PIECES = 150, 600
"""Cost model: a search for one anchor costs `_LOOK` characters plus the length of the text; to extract the pieces of a text costs `_PIECES`
times its length."""
_ARMOUR = re.compile(r"-----.*-----")
_URL_SAFE = str.maketrans("+/", "-_")
_LINE_ENDS = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
_ENTITIES: tuple[dict[str, str], ...] = (
    {},
    {'"': "&quot;"},
    {'"': "&quot;", "'": "&#x27;"},
    {'"': "&quot;", "'": "&apos;"},
    {'"': "&#34;", "'": "&#39;"},
    _LINE_ENDS,
    {'"': "&quot;", **_LINE_ENDS},
)
"""Entities in addition to `&`, `<` and `>`, by writer: text, attributes, `html.escape`, the names of XML, Go, `quoteattr` of saxutils."""
_UNSAFE_IN_HTML = str.maketrans({char: f"\\u{ord(char):04x}" for char in "&<>'="})


class Spelling:
    """A secret, one of its lines or its base64, in each encoding.

    Attributes:
        secret: the clear text.
        anchor: a part that is the same in each encoding. A log line without it cannot contain the secret.
    """

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self._parts = _PLAIN.findall(secret)
        self.anchor = max(self._parts, key=len, default="")

    def hide(self, text: str, hidden: str) -> str:
        """Replace the secret by `hidden` in every encoding."""
        if not all(part in text for part in self._parts):
            return text
        for spelled in self._encoded:
            text = spelled.sub(hidden, text) if isinstance(spelled, re.Pattern) else text.replace(spelled, hidden)
        return text

    @cached_property
    def _encoded(self) -> tuple[str | re.Pattern[str], ...]:
        """Computed when a line contains the anchor, which is rare. Longest first: an encoding may contain another one."""
        once = dict.fromkeys(_encodings(self.secret))
        twice = dict.fromkeys(chain(once, *map(_encodings, once)))
        ordered = sorted(twice, key=len, reverse=True)
        if len(self.secret) >= SHORTEST_WITHIN_WORDS:
            return tuple(ordered)
        return tuple(re.compile(_standing_alone(spelled)) for spelled in ordered)


class Index:
    """Index of many spellings, few of which occur in a line.

    Attributes:
        spellings: all spellings.
    """

    def __init__(self, spellings: Iterable[Spelling] = ()) -> None:
        self.spellings = tuple(spellings)
        self._short = [spelling for spelling in self.spellings if len(spelling.anchor) < _PIECE]
        self._by_piece: dict[str, list[Spelling]] = {}
        for spelling in self.spellings:
            if len(spelling.anchor) >= _PIECE:
                self._by_piece.setdefault(spelling.anchor[:_PIECE], []).append(spelling)

    def find(self, text: str) -> list[Spelling]:
        """The spellings whose anchors occur in the text."""
        if len(self.spellings) * (len(text) + _LOOK) < len(text) * _PIECES:
            likely: Iterable[Spelling] = self.spellings
        else:
            likely = chain(self._short, *(self._by_piece[piece] for piece in self._pieces(text)))
        return [spelling for spelling in likely if spelling.anchor in text]

    def _pieces(self, text: str) -> set[str]:
        """The index keys that occur in the text. All pieces of a long text would need a hundred times its memory."""
        known, found = self._by_piece.keys(), set[str]()
        for start in range(0, len(text), _STRETCH):
            part = text[start : start + _STRETCH + _PIECE - 1]
            found |= known & {part[place : place + _PIECE] for place in range(len(part) - _PIECE + 1)}
        return found


def spellings(secret: str) -> tuple[Spelling, ...]:
    """The secret, each of its lines if there are several, and its base64; nothing if it is too short."""
    lines = secret.split("\n")
    parts = (secret, *(line for line in lines if not _ARMOUR.fullmatch(line.strip()))) if len(lines) > 1 else (secret,)
    stripped = dict.fromkeys(part.strip() for part in parts)
    clear = [part for part in stripped if len(part) >= SHORTEST]
    return tuple(map(Spelling, dict.fromkeys(chain(clear, _in_base64(secret) if clear else ()))))


def _standing_alone(spelled: str) -> str:
    """A pattern for a short value as a whole word. A preceding escape such as `\\n` or `%20` is not part of the word."""
    before = r"(?:(?<![^\W_])|(?<=\\[abfnrtv])|(?<=%[0-9A-Fa-f]{2}))" if spelled[0].isalnum() else ""
    after = r"(?![^\W_])" if spelled[-1].isalnum() else ""
    return f"{before}{re.escape(spelled)}{after}"


def _in_base64(secret: str) -> Iterator[str]:
    """The base64 of the secret within a longer text such as `user:password`, for each possible offset.

    Characters at the ends that depend on neighbouring text are left out.
    """
    octets = secret.encode(errors="surrogatepass")
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + octets).decode()
        own = encoded[-(-8 * before // 6) : 8 * (before + len(octets)) // 6]
        if len(own) >= SHORTEST:
            yield from dict.fromkeys((own, own.translate(_URL_SAFE)))


def _encodings(text: str) -> Iterator[str]:
    """The text itself and each of its encodings."""
    yield text
    for encoding in _ENCODINGS:
        yield from encoding(text)


def _python(text: str) -> Iterator[str]:
    """As in `repr` of a longer string or its bytes. That string determines whether quotes are escaped."""
    octets = text.encode(errors="surrogatepass")
    for quoted in (repr("'\"" + text)[4:-1], repr(b"'\"" + octets)[5:-1], ascii("'\"" + text)[4:-1]):
        yield from (quoted, quoted.replace("\\'", "'"))


def _json(text: str) -> Iterator[str]:
    """JSON as written by Python and by other libraries, which also escape `/` and characters of HTML, or use upper-case digits."""
    for only_ascii in (False, True):
        quoted = json.dumps(text, ensure_ascii=only_ascii)[1:-1]
        yield from (quoted, quoted.replace("/", "\\/"), quoted.translate(_UNSAFE_IN_HTML))
    yield re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), quoted)


def _xml(text: str) -> Iterator[str]:
    for entities in _ENTITIES:
        escaped = html.escape(text, quote=False)  # saxutils would import http
        for char, entity in entities.items():
            escaped = escaped.replace(char, entity)
        yield escaped
        yield escaped.encode("ascii", "xmlcharrefreplace").decode()


def _url(text: str) -> Iterator[str]:
    """Libraries differ in the characters that they leave unquoted and in the case of the digits."""
    for quoted in (
        quote(text, errors="surrogatepass"),
        quote(text, safe="", errors="surrogatepass"),
        quote(text, safe="!~*'()", errors="surrogatepass"),
        quote_plus(text, errors="surrogatepass"),
    ):
        yield from (quoted, re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted))


def _shell(text: str) -> Iterator[str]:
    """Within single quotes."""
    yield from (text.replace("'", "'\"'\"'"), text.replace("'", "'\\''"))


def _lines(text: str) -> Iterator[str]:
    """On one line, as in messages, and with network line ends."""
    yield from (" ".join(text.split()), text.replace("\r\n", "\n").replace("\n", "\r\n"))


_ENCODINGS: tuple[Callable[[str], Iterator[str]], ...] = (_python, _json, _xml, _url, _shell, _lines)

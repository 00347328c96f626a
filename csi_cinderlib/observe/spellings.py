"""The spellings in which a secret may turn up in text: quoted, escaped, encoded, or one line at a time."""

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
"""Shorter values are not looked for: hiding every "on" would hide the log and protect nothing."""
SHORTEST_WITHIN_WORDS = 6
"""Shorter values are hidden where they stand alone: the password "admin" does not hide a part of "administrator"."""

_PLAIN = re.compile(r"[A-Za-z0-9]+")
"""What an encoding leaves as it is; base64 aside."""
_PIECE = 4
"""Characters of an anchor by which many spellings are looked up at once."""
_STRETCH = 16 * 1024
"""Characters."""
_LOOK, _PIECES = 150, 600
"""To look for one anchor costs as much as to read `_LOOK` characters, and as many more as the text has; to take the pieces of a text, as
much as to read it `_PIECES` times."""
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
"""Besides `&`, `<` and `>`, by what writes them: text, attributes, `html.escape`, XML's own names, Go's, saxutils' `quoteattr`."""
_UNSAFE_IN_HTML = str.maketrans({char: f"\\u{ord(char):04x}" for char in "&<>'="})


class Spelling:
    """A secret, one of its lines or its base64, in each encoding.

    Attributes:
        secret: the clear text.
        anchor: a part that is the same in each encoding. A line of a log without it needs no further look.
    """

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self._parts = _PLAIN.findall(secret)
        self.anchor = max(self._parts, key=len, default="")

    def hide(self, text: str, hidden: str) -> str:
        """The text with `hidden` in place of the secret, however it is encoded."""
        if not all(part in text for part in self._parts):
            return text
        for spelled in self._encoded:
            text = spelled.sub(hidden, text) if isinstance(spelled, re.Pattern) else text.replace(spelled, hidden)
        return text

    @cached_property
    def _encoded(self) -> tuple[str | re.Pattern[str], ...]:
        """Made when a line has the anchor, as few do. The longest first, so that one which contains another is hidden whole."""
        once = dict.fromkeys(_encodings(self.secret))
        twice = dict.fromkeys(chain(once, *map(_encodings, once)))
        ordered = sorted(twice, key=len, reverse=True)
        if len(self.secret) >= SHORTEST_WITHIN_WORDS:
            return tuple(ordered)
        return tuple(re.compile(_standing_alone(spelled)) for spelled in ordered)


class Index:
    """Many spellings, of which few are in a line.

    Attributes:
        spellings: all of them.
    """

    def __init__(self, spellings: Iterable[Spelling] = ()) -> None:
        self.spellings = tuple(spellings)
        self._short = [spelling for spelling in self.spellings if len(spelling.anchor) < _PIECE]
        self._by_piece: dict[str, list[Spelling]] = {}
        for spelling in self.spellings:
            if len(spelling.anchor) >= _PIECE:
                self._by_piece.setdefault(spelling.anchor[:_PIECE], []).append(spelling)

    def find(self, text: str) -> list[Spelling]:
        """Those whose anchors are in the text."""
        if len(self.spellings) * (len(text) + _LOOK) < len(text) * _PIECES:
            likely: Iterable[Spelling] = self.spellings
        else:
            likely = chain(self._short, *(self._by_piece[piece] for piece in self._pieces(text)))
        return [spelling for spelling in likely if spelling.anchor in text]

    def _pieces(self, text: str) -> set[str]:
        """Those that are in the text. Of a long one, all pieces take a hundred times its memory."""
        known, found = self._by_piece.keys(), set[str]()
        for start in range(0, len(text), _STRETCH):
            part = text[start : start + _STRETCH + _PIECE - 1]
            found |= known & {part[place : place + _PIECE] for place in range(len(part) - _PIECE + 1)}
        return found


def spellings(secret: str) -> tuple[Spelling, ...]:
    """The secret, its lines if it has several, and base64 of it; nothing for what is too short to be looked for."""
    lines = secret.split("\n")
    parts = (secret, *(line for line in lines if not _ARMOUR.fullmatch(line.strip()))) if len(lines) > 1 else (secret,)
    stripped = dict.fromkeys(part.strip() for part in parts)
    clear = [part for part in stripped if len(part) >= SHORTEST]
    return tuple(map(Spelling, dict.fromkeys(chain(clear, _in_base64(secret) if clear else ()))))


def _standing_alone(spelled: str) -> str:
    """A pattern for a short value that is no part of a word. An escape in front, `\\n` or `%20`, is none."""
    before = r"(?:(?<![^\W_])|(?<=\\[abfnrtv])|(?<=%[0-9A-Fa-f]{2}))" if spelled[0].isalnum() else ""
    after = r"(?![^\W_])" if spelled[-1].isalnum() else ""
    return f"{before}{re.escape(spelled)}{after}"


def _in_base64(secret: str) -> Iterator[str]:
    """What base64 makes of it within a longer text, `user:password` for example, wherever it begins there.

    A character at either end that also depends on what stands beside it is left out.
    """
    octets = secret.encode(errors="surrogatepass")
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + octets).decode()
        own = encoded[-(-8 * before // 6) : 8 * (before + len(octets)) // 6]
        if len(own) >= SHORTEST:
            yield from dict.fromkeys((own, own.translate(_URL_SAFE)))


def _encodings(text: str) -> Iterator[str]:
    """The text itself, and what each encoding makes of it."""
    yield text
    for encoding in _ENCODINGS:
        yield from encoding(text)


def _python(text: str) -> Iterator[str]:
    """As in `repr` of a longer string, or of its bytes; whether quotes are escaped depends on that string."""
    octets = text.encode(errors="surrogatepass")
    for quoted in (repr("'\"" + text)[4:-1], repr(b"'\"" + octets)[5:-1], ascii("'\"" + text)[4:-1]):
        yield from (quoted, quoted.replace("\\'", "'"))


def _json(text: str) -> Iterator[str]:
    """As Python writes it; with the characters that other libraries also escape: `/`, and those of HTML; with capital digits."""
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
    """Libraries differ in what they leave as it is, and in the case of the digits."""
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
    """In one line, as messages are shown; and with the line ends of the network."""
    yield from (" ".join(text.split()), text.replace("\r\n", "\n").replace("\n", "\r\n"))


_ENCODINGS: tuple[Callable[[str], Iterator[str]], ...] = (_python, _json, _xml, _url, _shell, _lines)

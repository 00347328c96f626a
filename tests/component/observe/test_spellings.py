"""A secret is hidden in every spelling that programs give it, and short ones garble nothing."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_cinderlib.observe import redact
from csi_cinderlib.observe.spellings import Index, Spelling, spellings

Encode = Callable[[str], str]
GNARLY = "pa\"ss 'w/o+rd\\ä&<€>%\t$x😀"
KEY = "\n".join(
    ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "BKcwggSjAgEAAoIBAQC7VJ/Tt+s9==", "-----END PRIVATE KEY-----"]
)  # fmt: skip


def _element(text: str) -> str:
    element = ET.Element("a")
    element.text = text
    return ET.tostring(element).decode()


ENCODERS: dict[str, Encode] = {
    "plain": str,
    "repr": repr,
    "repr beside other quotes": lambda text: repr({"it's": text, 'a "b"': f"it's {text}"}),
    "repr of bytes": lambda text: repr(text.encode()),
    "ascii": ascii,
    "JSON": json.dumps,
    "JSON with other letters": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON of PHP": lambda text: json.dumps(text).replace("/", "\\/"),
    "XML": escape,
    "XML attribute": quoteattr,
    "XML of ElementTree": _element,
    "HTML": html.escape,
    "URL": quote,
    "URL parameter": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "URL with small digits": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
    "shell": shlex.quote,
    "one line": lambda text: " ".join(text.split()),
}


def shown(text: str, *secrets: str) -> str:
    with redact.hiding(secrets):
        return redact.known(text)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_secret_is_hidden_in_each_encoding(name: str) -> None:
    encoded = ENCODERS[name](GNARLY)
    assert _traces(shown(encoded, GNARLY), GNARLY) == []


@pytest.mark.parametrize("outer", ENCODERS)
@pytest.mark.parametrize("inner", ENCODERS)
def test_a_secret_is_hidden_in_one_encoding_within_another(inner: str, outer: str) -> None:
    encoded = ENCODERS[outer](ENCODERS[inner](GNARLY))
    assert _traces(shown(encoded, GNARLY), GNARLY) == []


def _traces(text: str, secret: str) -> list[str]:
    """The parts of a secret that a text still shows: those that no encoding changes."""
    parts = "".join(char if char.isascii() and char.isalnum() else " " for char in secret).split()
    return [part for part in parts if len(part) > 1 and part in text]


text_of_secrets = st.text(min_size=6, max_size=40).filter(lambda text: len(text.strip()) >= 6)
few_letters = st.text(alphabet="ab\"'\\ \n/%&<$+\u00e9", min_size=6, max_size=20).filter(
    lambda text: len(text.strip()) >= 6
)


@given(secret=text_of_secrets | few_letters, encoder=st.sampled_from(sorted(ENCODERS)))
def test_no_secret_of_six_characters_survives_in_any_encoding(secret: str, encoder: str) -> None:
    encode = ENCODERS[encoder]
    said = f"[{encode(secret)}]"
    seen = shown(said, secret)
    assert secret.strip() not in seen
    assert encode(secret.strip()) not in seen
    assert "***" in seen


@given(secret=text_of_secrets, others=st.lists(text_of_secrets, max_size=4))
def test_no_secret_survives_beside_others(secret: str, others: list[str]) -> None:
    seen = shown(f"[{json.dumps([secret, *others])}]", secret, *others)
    assert json.dumps(secret.strip())[1:-1] not in seen


@given(
    secret=st.text(min_size=6, max_size=30).filter(lambda text: len(text.strip()) >= 6),
    before=st.binary(max_size=5),
    after=st.binary(max_size=5),
)
def test_no_secret_survives_in_base64(secret: str, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    assert "***" in shown(encoded, secret)
    assert len(shown(encoded, secret).replace("***", "")) <= len(base64.b64encode(before + after)) + 4


def test_each_line_of_a_key_is_hidden_and_its_frame_is_not() -> None:
    lines = [shown(line, KEY) for line in KEY.splitlines()]
    assert lines == ["-----BEGIN PRIVATE KEY-----", "***", "***", "-----END PRIVATE KEY-----"]
    assert shown(f"key: {KEY!r}", KEY) == "key: '***'"
    assert shown("  " + KEY.replace("\n", "\r\n  "), KEY).count("***") == 2


@pytest.mark.parametrize(
    ("secret", "said", "seen"),
    [
        ("on", "go on", "go on"),
        ("abc", "abc", "abc"),
        ("   ", "a   b", "a   b"),
        ("", "nothing", "nothing"),
        ("admin", "admin of administrators", "*** of administrators"),
        ("admin", "admin=admin, sysadmin", "***=***, sysadmin"),
        ("admin", "a\\nadmin%20admin%2Cx", "a\\n***%20***%2Cx"),
        ("adm1n", "['adm1n']", "['***']"),
        ("a!b!", "a!b! xa!b! a!b!x", "*** xa!b! ***x"),
        ("secret", "secretary", "***ary"),
    ],
)
def test_short_values_are_hidden_where_they_stand_alone_and_the_shortest_never(
    secret: str, said: str, seen: str
) -> None:
    assert shown(said, secret) == seen


def test_a_line_without_a_secret_costs_one_look_for_each_spelling() -> None:
    """And makes none of the hundreds of encodings."""
    secrets = [f"{GNARLY}{number}" for number in range(200)]
    with redact.hiding(secrets):
        redact.known("volume created")
    assert all("_encoded" not in vars(spelling) for secret in secrets for spelling in spellings(secret))


def test_a_secret_that_looks_like_its_own_encodings_takes_no_time() -> None:
    secret = "'\\''\"%25&amp;" * 20
    began = time.monotonic()
    assert "***" in shown(f"x{secret}x" + secret[:-1] * 50, secret)
    assert time.monotonic() - began < 20, "seconds, not for ever"


class Looked(str):
    """Counts how often it is searched."""

    __slots__ = ("looks",)
    looks: int

    def __contains__(self, part: str) -> bool:  # type: ignore[override]
        self.looks += 1
        return super().__contains__(part)


def test_a_long_text_is_not_searched_for_each_of_thousands_of_secrets() -> None:
    """A driver may log the whole of an array's answer."""
    many = [Spelling(f"{number:04x}secret{number}") for number in range(12_000)]
    filler = "no word of it here. " * 50_000
    places = {many[7]: 0, many[8]: 16 * 1024 - 7, many[9]: 500_000, many[10]: len(filler)}
    text = filler
    for spelling, place in sorted(places.items(), key=lambda item: item[1], reverse=True):
        text = text[:place] + spelling.secret + text[place:]
    looked = Looked(text)
    looked.looks = 0
    assert set(places) <= set(Index(many).find(looked))
    assert looked.looks < 2000


@pytest.mark.parametrize("length", [3, 4, 5, 50, 16_383, 16_384, 16_385, 16_390, 40_000])
@pytest.mark.parametrize("count", [1, 30, 700])
def test_an_index_finds_what_a_search_for_each_finds(length: int, count: int) -> None:
    many = [
        Spelling(secret)
        for secret in ("ab-cd", "zzzz", "-----", *(f"x{number}" for number in range(1000, 1000 + count)))
    ]
    text = "".join(chr(97 + place * place % 7) for place in range(length - 4)) + "zzzz"[:length]
    for shown in (text, text.replace("zzzz", "x1000"), text + "cd"):
        assert set(Index(many).find(shown)) == {spelling for spelling in many if spelling.anchor in shown}

"""How commands print rows."""

from __future__ import annotations

import enum
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml

from csi_cinderlib import cli
from csi_cinderlib.commands import output
from csi_cinderlib.commands.output import Column, Format, Kind
from csi_cinderlib.commands.table import CHUNK, Table
from csi_cinderlib.errors import InvalidRequest

ROWS: tuple[output.Row, ...] = (
    {"id": "v1", "gib": 3, "thin": True, "nodes": ["a", "b"], "pool": "p", "message": None, "labels": {"k": "x"}},
    {"id": "longer", "gib": 10, "thin": False, "nodes": [], "pool": "", "message": "no space", "labels": {}},
)
COLUMNS = ("id", "gib", "thin", "nodes", "message")
WIDE = ("pool", Column("count", lambda row: len(row["labels"])))  # type: ignore[arg-type]  # a mapping


def shown(capsys: pytest.CaptureFixture[str], format: Format, rows: tuple[output.Row, ...] = ROWS) -> str:
    output.print_rows(iter(rows), format, columns=COLUMNS, wide=WIDE, nothing="no volumes")
    return capsys.readouterr().out


def test_a_table_has_the_commands_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, Format()).splitlines() == [
        "ID      GIB  THIN  NODES  MESSAGE",
        "v1      3    yes   a,b",
        "longer  10   no           no space",
    ]


def test_a_wide_table_has_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    head, first, _ = shown(capsys, Format(Kind.WIDE)).splitlines()
    assert head.split() == ["ID", "GIB", "THIN", "NODES", "MESSAGE", "POOL", "COUNT"]
    assert first.split() == ["v1", "3", "yes", "a,b", "p", "1"]


def test_columns_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, Format(columns=("count", "id"), headers=False)) == "1  v1\n0  longer\n"
    assert json.loads(shown(capsys, Format(Kind.JSON, ("count", "id")))) == [
        {"count": 1, "id": "v1"},
        {"count": 0, "id": "longer"},
    ]


@pytest.mark.parametrize("rows", [ROWS, ()])
def test_an_unknown_column_is_refused_whether_there_are_rows_or_not(rows: tuple[output.Row, ...]) -> None:
    with pytest.raises(InvalidRequest, match="--columns: unknown column 'nodez'; did you mean 'nodes'"):
        output.print_rows(rows, Format(columns=("nodez",)), columns=COLUMNS, nothing="no volumes")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_programs_get_one_list_with_all_fields(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(shown(capsys, Format(Kind.JSON), ROWS[:count])) == [dict(row) for row in ROWS[:count]]
    assert yaml.safe_load(shown(capsys, Format(Kind.YAML), ROWS[:count])) == [dict(row) for row in ROWS[:count]]


def test_names_are_printed_one_a_line_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, Format(Kind.NAME)) == "v1\nlonger\n"
    assert shown(capsys, Format(Kind.NAME), ()) == ""


def test_an_empty_table_is_reported_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_rows((), Format(), columns=COLUMNS, nothing="no volumes")
    assert capsys.readouterr() == ("", "no volumes\n")


@pytest.mark.parametrize("kind", [Kind.JSON, Kind.YAML, Kind.NAME])
def test_rows_are_printed_as_they_come(kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def rows() -> Iterator[output.Row]:
        yield ROWS[0]
        yield ROWS[0]
        seen.append(capsys.readouterr().out)

    output.print_rows(rows(), Format(kind), columns=COLUMNS, nothing="")
    assert "v1" in seen[0]


@pytest.mark.parametrize("kind", list(Kind))
def test_what_a_terminal_acts_on_is_escaped(kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b]0;title\x07\x9b2J\x7f\r\n1\t\u202e2\u2028\x85"
    out = shown(capsys, Format(kind), ({**ROWS[0], "id": hostile, "message": hostile},))
    assert {character for character in out if not character.isprintable()} == {"\n"}
    if kind is Kind.JSON:
        assert json.loads(out)[0]["id"] == hostile
    elif kind is Kind.YAML:
        assert yaml.safe_load(out)[0]["id"] == hostile
    else:
        assert len(out.splitlines()) == (1 if kind is Kind.NAME else 2)


class Color(enum.StrEnum):
    RED = "red"


def test_values_of_any_type_are_printed_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"id": Path("/x"), "kind": Color.RED, "labels": MappingProxyType({"a": (1, 2)}), "lone": "\ud800"}
    plain = {"id": "/x", "kind": "red", "labels": {"a": [1, 2]}, "lone": "\ud800"}
    assert json.loads(shown(capsys, Format(Kind.JSON), (row,))) == [plain]
    assert yaml.safe_load(shown(capsys, Format(Kind.YAML), ({**row, "lone": "ö"},))) == [{**plain, "lone": "ö"}]


def lines(rows: list[list[str]], limit: int | None) -> tuple[list[str], list[str]]:
    table = Table(["id", "pool", "owner", "message"], limit=limit)
    return list(table.lines(iter(rows))), list(table.hidden)


ROW = ["volume-1", "p" * 10, "o" * 10, "m" * 40]


@pytest.mark.parametrize(
    ("limit", "message", "hidden"),
    [
        (None, "m" * 40, []),
        (74, "m" * 40, []),
        (73, "m" * 38 + "…", []),
        (58, "m" * 23 + "…", []),
        (57, "m" * 34 + "…", ["owner"]),
        (45, "m" * 34 + "…", ["pool", "owner"]),
        (20, "m" * 9 + "…", ["pool", "owner"]),
        (5, "m" * 7 + "…", ["pool", "owner"]),
    ],
)
def test_a_table_fits_its_terminal(limit: int | None, message: str, hidden: list[str]) -> None:
    (head, line), left_out = lines([ROW], limit)
    assert (line.split()[-1], left_out) == (message, hidden)
    assert "MESSAGE" in head
    assert all(name.upper() not in head for name in hidden)
    assert limit is None or limit < 20 or len(line) <= limit


def test_a_table_of_several_chunks_is_aligned_as_it_comes() -> None:
    rows = [*[["a", "b"]] * CHUNK, ["longer", "b"], ["a", "b"]]
    out = list(Table(["id", "name"]).lines(iter(rows)))
    assert (out[:2], out[-2:]) == (["ID  NAME", "a   b"], ["longer  b", "a       b"])
    assert len(out) == 1 + len(rows)


def test_wide_characters_are_aligned() -> None:
    assert list(Table(["id", "name"]).lines(iter([["卷一", "x"], ["e\u0301", "y"]]))) == [
        "ID    NAME",
        "卷一  x",
        "e\u0301     y",
    ]


def in_terminal(width: int, *words: str) -> str:
    """What a command prints on a terminal so wide, with its standard error."""
    outer, inner = pty.openpty()
    argv = [sys.executable, "-m", "csi_cinderlib", *words]
    with subprocess.Popen(argv, stdout=inner, stderr=inner, env={**os.environ, "COLUMNS": str(width)}) as process:
        os.close(inner)
        text = b""
        try:
            while read := os.read(outer, 65536):
                text += read
        except OSError:  # the terminal's other end is closed
            pass
        assert process.wait(60) == 0
    os.close(outer)
    return text.decode().replace("\r\n", "\n")


def test_a_terminal_gets_no_line_longer_than_its_width_and_is_told_what_is_missing() -> None:
    text = in_terminal(100, "drivers")
    assert max(map(len, text.splitlines())) <= 100
    assert "not shown: protocols, supported; -o wide shows all columns" in text
    assert "not shown" not in in_terminal(100, "drivers", "-o", "wide")


def test_an_unknown_format_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["drivers", "-o", "xml"]) == 2
    assert "'xml' is not one of 'table', 'wide', 'json', 'yaml', 'name'" in capsys.readouterr().err

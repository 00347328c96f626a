"""The documentation: generated pages match the code, links and paths exist, and the map of the tests is complete."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.generate import docs
from scripts.generate.__main__ import main
from scripts.generate.output import Output

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "charts/*/README.md", "tests/README.md")
    for path in ROOT.glob(pattern)
)


def test_the_generated_pages_are_up_to_date() -> None:
    assert docs.output().outdated() == [], "run `make docs`"


def test_the_generator_writes_what_it_compares(tmp_path: Path) -> None:
    main(["docs", "--root", str(tmp_path)])
    assert docs.output().outdated(tmp_path) == []


def test_writing_removes_what_earlier_runs_left(tmp_path: Path) -> None:
    output = Output(
        {"kept/same.md": "same\n", "kept/changed.md": "new\n", "kept/missing.md": "new\n"}, owned=("kept/*",)
    )
    (tmp_path / "kept/folder").mkdir(parents=True)
    for name, text in {
        "kept/same.md": "same\n",
        "kept/changed.md": "old\n",
        "kept/left.md": "",
        "other.md": "",
    }.items():
        (tmp_path / name).write_text(text)
    assert output.outdated(tmp_path) == ["kept/changed.md", "kept/left.md", "kept/missing.md"]
    output.write(tmp_path)
    assert output.outdated(tmp_path) == []
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"folder", "same.md", "changed.md", "missing.md"}
    assert (tmp_path / "other.md").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = [link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    targets = [(page.parent / path if path else page, anchor) for path, _, anchor in links]
    assert [str(path) for path, _ in targets if not path.exists()] == []
    assert [f"{path}#{anchor}" for path, anchor in targets if anchor and anchor not in anchors(path)] == []


def test_each_promise_names_tests_that_exist() -> None:
    """docs/explanation/safety.md has footnotes with the tests that fail when a promise does not hold; limits are paragraphs of their own."""
    page = ROOT / "docs/explanation/safety.md"
    text, notes = read_footnotes(page.read_text())
    assert set(re.findall(r"\[\^([\w-]+)\]", text)) == notes.keys()
    promises = re.findall(r"^\*\*.*?(?=\n\n|\Z)", text, re.M | re.S)
    assert [promise for promise in promises if not re.search(r"\[\^[\w-]+\]\s*\Z", promise)] == [], (
        "no test for the end"
    )
    assert [name for name, note in notes.items() if not named_tests(note)] == []
    named = [(page.parent / path, test) for note in notes.values() for test, path in named_tests(note)]
    assert [f"{path.name}::{test}" for path, test in named if f"\ndef {test}(" not in path.read_text()] == []


def test_each_cell_of_the_table_of_attackers_names_tests_or_says_why_it_is_not_defended() -> None:
    page = ROOT / "docs/explanation/security-model.md"
    text, notes = read_footnotes(page.read_text())
    header, *rows = attackers(text)
    assert len(header) == 8
    assert [row[0] for row in rows if len(row) != len(header)] == []
    assert [
        cell for row in rows for cell in row[1:] if not re.search(r"\[\^[\w-]+\]$|not defended( here)?: \w+", cell)
    ] == []
    assert len(rows) == 6
    assert set(re.findall(r"\[\^([\w-]+)\]", text)) == notes.keys()
    assert [name for name, note in notes.items() if not named_tests(note)] == []
    named = [(page.parent / path, test) for note in notes.values() for test, path in named_tests(note)]
    assert [
        f"{path}::{test}" for path, test in named if not path.exists() or f"\ndef {test}(" not in path.read_text()
    ] == []


def attackers(text: str) -> list[list[str]]:
    """The rows of the table, its heading first, without the line between."""
    (table,) = re.findall(r"<!-- threats -->\n\n(.*?)\n\n", text, re.DOTALL)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [rows[0], *rows[2:]]


def read_footnotes(page: str) -> tuple[str, dict[str, str]]:
    """The text without its footnotes, and the footnotes by name."""
    notes = dict(re.findall(r"^\[\^([\w-]+)\]: (.*(?:\n    .*)*)", page, re.MULTILINE))
    return re.sub(r"^\[\^[\w-]+\]: .*(?:\n    .*)*", "", page, flags=re.MULTILINE), notes


def named_tests(footnote: str) -> list[tuple[str, str]]:
    """Each test's name, and its path from the page."""
    return re.findall(r"\[(test_\w+)\]\((\.\./\.\./tests/[\w/]+\.py)\)", footnote)


def test_messages_lead_to_a_page_and_a_heading() -> None:
    """An operator who is sent to a page by an error finds what it speaks of."""
    links = list(links_in_messages(ROOT / "csi_cinderlib"))
    assert links
    broken = [f"{module}: {path}{anchor}" for module, path, anchor in links if not _leads_somewhere(path, anchor)]
    assert broken == []
    assert [path for _, path, anchor in links if not anchor] == [], "name the section"


def _leads_somewhere(path: str, anchor: str) -> bool:
    page = ROOT / path
    return page.is_file() and (not anchor or anchor.removeprefix("#") in anchors(page))


@pytest.mark.parametrize("text", ["docs/none.md", "docs/how-to/troubleshoot.md#no-such-heading"])
def test_a_message_that_leads_nowhere_is_noticed(tmp_path: Path, text: str) -> None:
    (tmp_path / "module.py").write_text(f'raise ValueError(f"{{1}}: see {text}")\n')
    ((_, path, anchor),) = links_in_messages(tmp_path)
    assert not _leads_somewhere(path, anchor)


def links_in_messages(package: Path) -> Iterator[tuple[str, str, str]]:
    """Pages of the documentation that string literals name: the module, the path, and "#heading" or ""."""
    for module in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for path, anchor in re.findall(r"(docs/[\w/.-]+\.md)(#[\w-]+)?", node.value):
                    yield module.name, path, anchor


def test_the_page_of_recovery_quotes_messages_as_they_are() -> None:
    """Each item of a list that begins with a message; dots stand for what differs."""
    page = (ROOT / "docs/how-to/recover-a-volume.md").read_text()
    quoted = re.findall(r"^- `([^`]+)`", page, re.MULTILINE)
    assert len(quoted) > 5
    known = list(messages(ROOT / "csi_cinderlib"))
    patterns = {quote: re.compile(".*".join(map(re.escape, quote.split("...")))) for quote in quoted}
    assert [quote for quote, pattern in patterns.items() if not any(map(pattern.search, known))] == []


def messages(package: Path) -> Iterator[str]:
    """Texts in the code, with "..." for what is filled in."""
    for module in package.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_code_exist(page: Path) -> None:
    assert [path for path in paths_in_code(page.read_text()) if not (ROOT / path).exists()] == []


def test_paths_are_found_in_spans_and_blocks_of_code() -> None:
    text = """Neither tests/prose nor `/etc/tests/x`, `a/docs/b`, `testsuite/x`, `docs/*.md`; but `tests/a` and `scripts/b.`

```console
$ pytest tests/c.py::test_d --file=charts/e/f.yaml
```
"""
    assert paths_in_code(text) == ["tests/a", "scripts/b", "tests/c.py", "charts/e/f.yaml"]


def paths_in_code(text: str) -> list[str]:
    """Paths below the folders of the repository, in code spans and code blocks."""
    code = " ".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
    tops = "|".join(sorted(folders(ROOT)))
    return [path.rstrip(".") for path in re.findall(rf"(?<![\w./-])(?:{tops})/[\w./-]*\w[\w./-]*", code)]


def test_the_map_of_the_tests_names_each_folder() -> None:
    """Below tests/component it need not name a folder that has the name of a package."""
    text = (TESTS / "README.md").read_text()
    named = {name.removeprefix("tests/") for name in re.findall(r"[`(]([\w/]+)[`)]", text)}
    component = {f"component/{name}" for name in folders(TESTS / "component") - folders(ROOT / "csi_cinderlib")}
    assert (folders(TESTS) | component) - named == set()


def folders(parent: Path) -> set[str]:
    """The names of folders with files; switching branches leaves others, in which there are only compiled modules."""
    found = (folder for folder in parent.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    return {
        folder.name for folder in found if any(path.suffix != ".pyc" and path.is_file() for path in folder.rglob("*"))
    }


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#\s]+)\)", (ROOT / "README.md").read_text()))
    pages = {str(page.relative_to(ROOT)) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    decisions = (ROOT / "docs/adr/README.md").read_text()
    linked |= {f"docs/adr/{name}" for name in re.findall(r"\]\((0[^)#\s]+)\)", decisions)}
    assert {page for page in pages - linked if "/drivers/" not in page and "/vendors/" not in page} == set()


def test_the_indexes_of_drivers_and_vendors_name_each_page() -> None:
    for folder in ("drivers", "vendors"):
        index = ROOT / "docs/reference" / folder / "README.md"
        linked = set(re.findall(r"\]\(([^)#/]+\.md)\)", index.read_text()))
        assert linked | {"README.md"} == {page.name for page in index.parent.glob("*.md")}

"""The documentation: generated pages match the code, links and paths exist, and the map of the tests is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.generate import docs
from scripts.generate.__main__ import main
from scripts.generate.output import Output

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


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
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing = [link for link in links if link and not (page.parent / link).exists()]
    assert missing == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#\s]+)\)", (ROOT / "README.md").read_text()))
    pages = {str(page.relative_to(ROOT)) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert {page for page in pages - linked if "/drivers/" not in page} == set()

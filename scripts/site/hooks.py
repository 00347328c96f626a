"""Hooks of MkDocs: pages from outside docs/, and links that lead out of the site.

The README, the chart's page, the examples and the changelog are written for readers of the source tree. On the site they are pages as well.
A link to a page leads to its place on the site. A link to any other file of the tree becomes the file's path, because the site has no source code.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = "docs/"
HOME = "index.md"
_LINK = re.compile(r"\[(?P<text>[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*)\]\((?P<path>[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")
_BLOCK = re.compile(r"(^ *```.*?^ *```)", re.DOTALL | re.MULTILINE)


def added_pages(root: Path = ROOT) -> dict[str, str]:
    """Pages outside docs/: their path in the tree, and their place on the site."""
    examples = {
        str(path.relative_to(root)): f"examples/{path.parent.name}.md"
        for path in sorted(root.glob("examples/*/README.md"))
    }
    return {
        "README.md": HOME,
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "SECURITY.md": "security.md",
        "charts/csi-cinderlib/README.md": "reference/chart.md",
        "examples/README.md": "examples/README.md",
        **examples,
    }


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    for source, place in added_pages().items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # MkDocs passes them by name
    """Make the page's links lead to pages of the site."""
    places = added_pages()
    if page.file.src_uri == HOME:
        page.meta["hide"] = ["navigation"]  # it would list this page alone
    source = next((path for path, place in places.items() if place == page.file.src_uri), DOCS + page.file.src_uri)
    return with_links_to(markdown, source, page.file.src_uri, places)


def with_links_to(markdown: str, source: str, place: str, places: dict[str, str]) -> str:
    """The text of the file `source` for the page `place`: links are rewritten, blocks of code stay as they are."""

    def rewritten(link: re.Match[str]) -> str:
        path, anchor = link["path"], link["anchor"] or ""
        if not path or ":" in path:
            return link[0]
        target = os.path.normpath(PurePosixPath(source).parent / path)
        page = places.get(target) or (target.removeprefix(DOCS) if target.startswith(DOCS) else "")
        if page:
            return f"[{link['text']}]({os.path.relpath(page, PurePosixPath(place).parent)}{anchor})"
        if not (ROOT / target).exists():
            return link[0]  # the strict build reports it
        return f"{link['text']} (`{target}`)"

    parts = _BLOCK.split(markdown)
    return "".join(part if index % 2 else _LINK.sub(rewritten, part) for index, part in enumerate(parts))

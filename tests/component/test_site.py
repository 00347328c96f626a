"""The documentation as a site: where links from pages of the tree lead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.site import hooks, publish

PLACES = hooks.added_pages()


@pytest.mark.parametrize(
    ("source", "place", "text", "expected"),
    [
        ("README.md", "index.md", "[safe](docs/explanation/safety.md#growth)", "[safe](explanation/safety.md#growth)"),
        ("README.md", "index.md", "[`a`](CHANGELOG.md)", "[`a`](changelog.md)"),
        ("docs/how-to/upgrade.md", "how-to/upgrade.md", "[x](../../README.md)", "[x](../index.md)"),
        ("docs/adr/README.md", "adr/README.md", "[x](0001-write-the-intent-first.md)", "[x](0001-write-the-intent-first.md)"),
        ("examples/qos/README.md", "examples/qos.md", "[x](../ext4/README.md)", "[x](ext4.md)"),
        ("docs/explanation/safety.md", "explanation/safety.md", "[t](../../tests/conftest.py),", "t (`tests/conftest.py`),"),
        ("examples/qos/README.md", "examples/qos.md", "[x](qos.yaml)", "x (`examples/qos/qos.yaml`)"),
        ("README.md", "index.md", "[x](https://example.com/a.md)", "[x](https://example.com/a.md)"),
        ("README.md", "index.md", "[x](#safe)", "[x](#safe)"),
        ("README.md", "index.md", "[x](nowhere.md)", "[x](nowhere.md)"),
    ],
)  # fmt: skip
def test_links_lead_to_pages_of_the_site_or_name_a_file(source: str, place: str, text: str, expected: str) -> None:
    assert hooks.with_links_to(text, source, place, PLACES) == expected


def test_blocks_of_code_stay_as_they_are() -> None:
    block = "```sh\n[x](README.md)\n```\n"
    text = hooks.with_links_to(f"{block}[x](CHANGELOG.md)\n{block}", "README.md", "index.md", PLACES)
    assert text == f"{block}[x](changelog.md)\n{block}"


def test_every_added_page_exists() -> None:
    assert [source for source in PLACES if not (hooks.ROOT / source).is_file()] == []
    assert len(set(PLACES.values())) == len(PLACES)


def test_the_site_keeps_several_versions(tmp_path: Path) -> None:
    """In a repository of its own; the documentation of a later patch of an old version is not the latest."""
    repository = tmp_path / "repository"
    git = ("git", "-C", str(repository), "-c", "user.name=tests", "-c", "user.email=tests@example.com")
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "first"], check=True)
    (repository / "mkdocs.yml").write_text((hooks.ROOT / "mkdocs.yml").read_text())
    for path in hooks.ROOT.iterdir():
        if path.name not in ("build", "mkdocs.yml") and not path.name.startswith("."):
            (repository / path.name).symlink_to(path)
    environment = {
        **os.environ,
        **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "tests"), ("EMAIL", "tests@example.com"))},
    }  # fmt: skip
    for version in ("0.10", "0.9"):
        command = [sys.executable, "-m", "scripts.site.publish", version]
        subprocess.run(command, cwd=repository, env=environment, check=True, capture_output=True)
    versions = subprocess.run([*git, "show", "site:versions.json"], check=True, capture_output=True).stdout
    found = [(each["version"], each["aliases"]) for each in json.loads(versions)]
    assert found == [("0.10", ["latest"]), ("0.9", [])]
    for place in ("index.html", "0.9/index.html", "0.10/how-to/upgrade.html", "0.10/reference/vendors/index.html"):
        subprocess.run([*git, "cat-file", "-e", f"site:{place}"], check=True)


@pytest.mark.parametrize("version", ["", "1", "1.2.3", "v1.2", "latest"])
def test_the_site_refuses_a_version_that_is_not_of_a_release(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish.main(version) == 2
    assert "MAJOR.MINOR" in capsys.readouterr().err

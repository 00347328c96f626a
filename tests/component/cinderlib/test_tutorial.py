"""Every snippet of the library's tutorial is run, in order, and prints what the page says."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from pathlib import Path

import pytest

import csi_cinderlib.cinderlib as cinderlib

PAGE = Path(__file__).parents[3] / "docs/tutorial/library.md"


@pytest.mark.root
def test_the_tutorials_snippets_do_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    blocks = re.findall(r"```(python|text)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    said = ""
    checked = 0
    cinderlib.close()
    try:
        for kind, block in blocks:
            if kind == "text":
                assert said == block
                checked += 1
                said = ""
                continue
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(block, str(PAGE), "exec"), names)
            said += output.getvalue()
        assert list(tmp_path.iterdir()) == []
        assert (said, checked) == ("", len([kind for kind, _ in blocks if kind == "text"]))
    finally:
        cinderlib.close()

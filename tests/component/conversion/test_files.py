"""Where the documents are written, and which files are read."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib import cli
from csi_cinderlib.conversion import files, writing
from csi_cinderlib.errors import ConfigurationError, InvalidRequest
from tests.component.conversion.cinder import LVM

CONF = f"[DEFAULT]\nenabled_backends = lvm\n[lvm]\nvolume_driver = {LVM}\nchap_password = x\n"
Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `convert` beside a cinder.conf."""
    monkeypatch.chdir(tmp_path)
    Path("cinder.conf").write_text(CONF)
    return lambda *words: cli.main(["convert", *words])


def names(directory: str | Path = ".") -> list[str]:
    """All entries, hidden ones, too."""
    return sorted(path.name for path in Path(directory).iterdir())


def test_a_new_file_is_its_owner_s_only(run: Run) -> None:
    assert run("cinder.conf", "-o", "new.yaml") == 0
    assert Path("new.yaml").stat().st_mode & 0o777 == 0o600
    assert names() == ["cinder.conf", "new.yaml"]


@pytest.mark.parametrize("target", ["config", "secret", "chart", "objects"])
def test_in_a_directory_the_file_has_a_name(run: Run, target: str) -> None:
    Path("out").mkdir()
    assert run("cinder.conf", "--to", target, "-o", "out") == 0
    expected = {"config": ["csi-cinderlib.yaml"], "secret": ["secret.yaml"], "chart": ["secret.yaml", "values.yaml"], "objects": ["objects.yaml"]}  # fmt: skip
    assert names("out") == expected[target]


@pytest.mark.parametrize("existing", ["values.yaml", "secret.yaml"])
def test_nothing_is_overwritten_and_nothing_else_is_written(run: Run, existing: str) -> None:
    Path(existing).symlink_to("nowhere")
    assert run("cinder.conf", "--to", "chart", "-o", "values.yaml", "--secret-file", "secret.yaml") == 2
    assert names() == sorted(["cinder.conf", existing])


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    class Late(str):
        def encode(self, *_args: object, **_options: object) -> bytes:  # after the check
            (tmp_path / "b").write_text("theirs")
            return b"ours"

    with pytest.raises(InvalidRequest, match="already exists"):
        writing.write({tmp_path / "a": "ours", tmp_path / "b": Late("ours")})
    assert (names(tmp_path), (tmp_path / "b").read_text()) == (["b"], "theirs")


def test_a_file_that_cannot_be_written_whole_is_not_there(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))  # bytes, as on a disk that is full
    try:
        code = run("cinder.conf", "-o", "new.yaml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (code, names()) == (1, ["cinder.conf"])
    assert "new.yaml: File too large" in capsys.readouterr().err


def test_a_directory_that_is_missing_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("cinder.conf", "-o", "missing/new.yaml") == 2
    assert "missing: must be a directory" in capsys.readouterr().err


def test_secrets_of_chart_values_need_a_file(run: Run) -> None:
    assert run("cinder.conf", "--to", "chart") == 2
    assert run("cinder.conf", "--to", "chart", "--secret-file", "s", "-o", "s") == 2
    assert run("cinder.conf", "--secret-file", "s") == 2
    assert names() == ["cinder.conf"]


def test_directories_are_read_in_oslo_s_order(tmp_path: Path) -> None:
    for name in ("cinder.conf", "cinder.conf.d/20.conf", "cinder.conf.d/10.conf", "cinder.conf.d/x.txt", "more/a.conf"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    found = files.read([tmp_path], [tmp_path / "more"])
    assert [Path(file.place).name for file in found] == ["cinder.conf", "10.conf", "20.conf", "a.conf"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequest, match="has no files to convert"):
        files.read([], [tmp_path / "empty"])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[DEFAULT]\n\xe9=1\n", "line 2 is not UTF-8: byte 0xE9"),
        ("[DEFAULT]\n".encode("utf-16"), "UTF-16"),
        (b"[DEFAULT]\na=\0b\n", "line 2 contains a NUL"),
        (b"#" * (2**20 + 1), "larger than 1024 KiB"),
    ],
)
def test_files_that_are_no_text_are_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "cinder.conf").write_bytes(content)
    with pytest.raises(ConfigurationError, match=problem):
        files.read([tmp_path / "cinder.conf"])


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "cinder.conf").write_bytes(b"\xef\xbb\xbf[DEFAULT]\r\n")
    assert files.read([tmp_path / "cinder.conf"])[0].text == "[DEFAULT]\n"

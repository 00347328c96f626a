"""The command line: help, exit codes, and what is imported for it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from csi_cinderlib import cli


def run(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "csi_cinderlib", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in cli.COMMANDS)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    assert f"csi-cinderlib {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["serv"], ["serve", "--mod", "x", "--no-such"]])
def test_a_wrong_word_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert "csi-cinderlib" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serve", "--mode", "nod"], "mode: unknown value 'nod'; did you mean 'node'?"),
        (["serve", "--config", ""], "--config: must not be empty"),
        (["serve", "--config", "/no/such.yaml"], "/no/such.yaml: cannot be read: No such file or directory"),
        (
            ["serve", "--state-dir", "/tmp/never-made", "--endpoint", "tcp://0.0.0.0:1"],
            "endpoint: unsupported endpoint 'tcp://0.0.0.0:1'",
        ),
        (["serve", "--log-level", "loud"], "log.level: unknown value 'loud'"),
        (["doctor", "--protocol", "iscs"], "--protocol: unknown protocol 'iscs'; did you mean 'iscsi'?"),
    ],
)
def test_bad_input_is_named_with_exit_code_2(words: list[str], message: str) -> None:
    outcome = run(*words)
    assert outcome.returncode == 2
    assert f"csi-cinderlib {words[0]}: {message}" in outcome.stderr


def test_the_configuration_file_may_come_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("endpont: x")
    outcome = run("serve", environment={"CINDERLIB_CONFIG": str(path)})
    assert outcome.returncode == 2
    assert "endpont: unknown key 'endpont'; did you mean 'endpoint'?" in outcome.stderr


def test_help_imports_click_and_little_else() -> None:
    """A tenth of a second is all that it may take."""
    unwanted = ("grpc", "cinder", "sqlalchemy", "yaml", "os_brick", "rich", "difflib", "logging", "csi_cinderlib.model")
    code = f"import sys; from csi_cinderlib import cli; cli.main(['--help']); print([m for m in {unwanted} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"


def test_a_new_key_is_32_bytes_and_new_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["new-key"]) == cli.main(["new-key"]) == 0
    first, second = capsys.readouterr().out.split()
    assert first != second
    assert len(base64.urlsafe_b64decode(first)) == 32

"""Completion, as bash asks for it."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from csi_cinderlib import cli
from tests.program.cli.conftest import Run


def complete(words: str, run: Run) -> list[str]:
    """What bash offers for the last word."""
    line = shlex.split(f"csi-cinderlib {words}")
    array = " ".join(map(shlex.quote, line))
    done = run(
        f"source <(csi-cinderlib completion bash); COMP_WORDS=({array}); COMP_CWORD={len(line) - 1}\n"
        'function=$(complete -p csi-cinderlib | sed -n "s/.* -F \\([^ ]*\\) .*/\\1/p")\n'
        '"$function" csi-cinderlib "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"; printf "%s\\n" "${COMPREPLY[@]}"',
        stderr=subprocess.PIPE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_commands_are_completed(run: Run) -> None:
    assert complete("''", run) == list(cli.COMMANDS)
    assert complete("rotate", run) == ["rotate-node-key"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("drivers --pro", ["--protocol"]),
        ("drivers Pure", ["PureFCDriver", "PureISCSIDriver", "PureNVMEDriver", "pure"]),
        ("drivers --protocol f", ["fibre_channel"]),
        ("drivers -o j", ["json"]),
        ("serve --mode no", ["node"]),
        ("serve --log-level d", ["debug"]),
        ("backends res", ["restart"]),
        ("backends restart --config config.yaml ''", ["local"]),
        ("backends restart --config nowhere.yaml ''", []),
        ("completion z", ["zsh"]),
    ],
)
def test_options_and_names_are_completed(words: str, offered: list[str], run: Run) -> None:
    assert complete(words, run) == offered


def test_the_script_is_valid_for_bash_and_starts_no_other_program(run: Run) -> None:
    done = run("PATH=; script=$($csi completion bash) && eval \"$script\" && complete -p csi-cinderlib".replace(
        "$csi", run("command -v csi-cinderlib").stdout.strip()
    ))  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("shell", "word"), [("zsh", "#compdef csi-cinderlib"), ("fish", "complete --no-files --command csi-cinderlib")])  # fmt: skip
def test_there_are_scripts_for_other_shells(shell: str, word: str, run: Run) -> None:
    assert word in run(f"csi-cinderlib completion {shell}").stdout


@pytest.mark.parametrize("instruction", ["bash_complete", "nonsense", "bash_nonsense"])
def test_a_completion_that_fails_prints_nothing_into_the_prompt(instruction: str, run: Run) -> None:
    done = run(f"_CSI_CINDERLIB_COMPLETE={instruction} csi-cinderlib")
    assert (done.returncode, done.stdout) == (1, "")

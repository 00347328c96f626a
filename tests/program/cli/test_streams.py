"""Output that cannot be written, and commands that are stopped."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import pytest

from csi_cinderlib import cli
from tests.program.cli.conftest import Run
from tests.support import exports
from tests.support.repeating import until

PRINTING = (
    "--help",
    "--version",
    "drivers",
    "drivers pure",
    "drivers RBDDriver",
    "drivers -o json",
    "drivers -o yaml",
    "drivers -o name",
    "crds",
    "new-key",
    "completion bash",
    "migrate",
    "check --config config.yaml",
    "export -",
)
"""Commands that write to standard output, without root."""
HEEDING = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from csi_cinderlib import cli; sys.exit(cli.main())"
)
"""As from a shell's foreground: what is started in the background ignores Ctrl-C."""


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """What a reader like `head` leaves behind."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def prepared(words: str, run: Run) -> str:
    """The command, with a store if it needs one."""
    if words == "export -":
        assert run("csi-cinderlib import backup").returncode == 0
    return words


@pytest.mark.parametrize("words", PRINTING)
def test_a_reader_that_stops_reading_ends_a_command_in_silence(prepared: str, closed_pipe: int, run: Run) -> None:
    done = run(f"csi-cinderlib {prepared}", stdout=closed_pipe, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")


def refused(line: str, words: str, reason: str, run: Run) -> None:
    """The command fails, in one line with its name and the reason."""
    done = run(line)
    name = "csi-cinderlib" if words.startswith("--") else f"csi-cinderlib {words.split(maxsplit=1)[0]}: standard output"
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1), done.stdout
    assert done.stdout.startswith(f"{name}: ") and done.stdout.endswith(f": {reason}\n")


@pytest.mark.parametrize("words", PRINTING)
def test_output_that_cannot_be_written_is_an_error_in_one_line(words: str, prepared: str, run: Run) -> None:
    refused(f"csi-cinderlib {prepared} > /dev/full", words, "No space left on device", run)


@pytest.mark.parametrize("words", ["--help", "drivers", "export -"])
def test_the_same_without_a_buffer(words: str, prepared: str, run: Run) -> None:
    refused(f"PYTHONUNBUFFERED=1 csi-cinderlib {prepared} > /dev/full", words, "No space left on device", run)


@pytest.mark.parametrize("words", ["--help", "drivers", "check --config config.yaml", "export -"])
def test_closed_output_is_an_error_and_no_other_file_takes_its_place(words: str, prepared: str, run: Run) -> None:
    refused(f"csi-cinderlib {prepared} >&-", words, "Bad file descriptor", run)


def test_closed_standard_error_does_not_move_messages_to_standard_output(run: Run) -> None:
    done = run("csi-cinderlib drivers puer 2>&-", stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("format", "shown"),
    [("table", "\\xf6-volume"), ("name", "\\xf6-volume"), ("json", '"\\u00f6-volume"'), ("yaml", '"\\xF6-volume"')],
)
def test_text_that_the_locale_cannot_show_is_escaped(format: str, shown: str, run: Run, directory: Path) -> None:
    program = (
        "from csi_cinderlib.commands.output import Format, Kind, print_rows; "
        "from csi_cinderlib.observe import standard_output; standard_output.reopen(); "
        f"print_rows([dict(id='\u00f6-volume')], Format(Kind('{format}')), columns=['id'], nothing='')"
    )
    done = run(f"PYTHONIOENCODING=ascii {sys.executable} -c {shlex.quote(program)}")
    assert (done.returncode, shown in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_tells_bad_usage_in_two_lines(name: str, run: Run) -> None:
    done = run(f"csi-cinderlib {name} --no-such-option")
    assert done.returncode == 2
    first, second = done.stdout.splitlines()
    assert first.startswith(f"csi-cinderlib {name}: no such option '--no-such-option'.")
    assert second == f"Try 'csi-cinderlib {name} --help'."


@pytest.mark.parametrize("words", ["import -", "export -"])
def test_ctrl_c_is_exit_code_130_without_a_message(
    words: str, environment: Mapping[str, str], directory: Path, run: Run
) -> None:
    """An import waits for its input, and an export for the reader of its output."""
    exports.write(directory / "many", 50)
    assert run("csi-cinderlib import many").returncode == 0
    with subprocess.Popen(
        [sys.executable, "-c", HEEDING, *words.split()],
        cwd=directory,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pipesize=4096,
    ) as command:
        assert command.stdin and command.stdout and command.stderr
        os.write(command.stdin.fileno(), b"{}")
        try:
            if words == "import -":
                until(lambda: _waiting_in(command.stdin) == 0)
            else:
                until(lambda: _waiting_in(command.stdout) > 2048)
            command.send_signal(signal.SIGINT)
            assert command.wait(120) == 130
            assert command.stderr.read() == b""
        finally:
            command.kill()


def _waiting_in(pipe: IO[bytes] | None) -> int:
    """Bytes that nobody has read."""
    assert pipe
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), "little")

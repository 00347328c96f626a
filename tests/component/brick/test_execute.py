"""The command runner that os-brick gets: its options, its errors, and secrets that do not show."""

from pathlib import Path
from typing import Any

import pytest
from os_brick.exception import ExecutionTimeout
from oslo_concurrency.processutils import ProcessExecutionError

from csi_cinderlib.brick import loading
from csi_cinderlib.brick.execute import execute
from csi_cinderlib.host import devices


def test_output_comes_back_as_text() -> None:
    assert execute("sh", "-c", "cat; echo err >&2", process_input="in", run_as_root=True, root_helper="env") == (
        "in",
        "err\n",
    )


def test_a_failure_carries_exit_code_and_output() -> None:
    with pytest.raises(ProcessExecutionError) as caught:
        execute("sh", "-c", "echo out; echo err >&2; exit 21")
    assert (caught.value.exit_code, caught.value.stdout, caught.value.stderr) == (21, "out\n", "err\n")


@pytest.mark.parametrize("accepted", [False, 21, [0, 21]])
def test_accepted_exit_codes_are_no_failure(accepted: object) -> None:
    assert execute("sh", "-c", "exit 21", check_exit_code=accepted) == ("", "")


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("csi_cinderlib.brick.execute._SEARCH_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProcessExecutionError, match=r"iscsiadm \(Debian package open-iscsi\)") as caught:
        execute("iscsiadm", "-m", "session", run_as_root=True)
    assert caught.value.exit_code == 127


@pytest.fixture
def linux_scsi(tmp_path: Path) -> Any:
    """os-brick's, brought in as this program brings it in: plainly imported it loads eventlet for all tests to come."""
    loading.connector_class("iscsi", lock_dir=tmp_path)
    from os_brick.initiator.linuxscsi import LinuxSCSI

    return LinuxSCSI("", execute=execute)


def test_scsi_id_is_answered_without_the_program(
    linux_scsi: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("csi_cinderlib.brick.execute._SEARCH_PATH", str(tmp_path))
    with pytest.raises(ProcessExecutionError, match="/dev/missing: No such file") as caught:
        linux_scsi.get_scsi_wwn("/dev/missing")
    assert caught.value.exit_code == 1


@pytest.mark.root
def test_scsi_id_of_what_is_no_scsi_disk_fails_as_the_program_does(linux_scsi: Any, tmp_path: Path) -> None:
    file = tmp_path / "disk"
    file.write_bytes(bytes(1 << 20))
    loop = devices.attach_file(str(file))
    try:
        with pytest.raises(ProcessExecutionError, match=r"has no SCSI name \(VPD page 0x83\)"):
            linux_scsi.get_scsi_wwn(loop)
    finally:
        devices.detach_from(str(file))


def test_chap_passwords_are_hidden_in_errors(tmp_path: Path) -> None:
    tool = tmp_path / "iscsiadm"
    tool.write_text('#!/bin/sh\necho "bad value $6" >&2\nexit 7\n')
    tool.chmod(0o755)
    with pytest.raises(ProcessExecutionError) as caught:
        execute(str(tool), "--op", "update", "-n", "node.session.auth.password", "-v", "s3cret-canary")
    assert "canary" not in f"{caught.value} {caught.value.cmd} {caught.value.stderr}"
    assert "-v ***" in str(caught.value.cmd)


def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(ExecutionTimeout):
        execute("sleep", "30", timeout=0.1)
    assert execute("sleep", "30", timeout=0.1, check_exit_code=False) == ("", "")


def test_attempts_are_repeated_until_one_succeeds(tmp_path: Path) -> None:
    script = f"echo x >> {tmp_path}/n; test $(wc -l < {tmp_path}/n) -ge 3"
    assert execute("sh", "-c", script, attempts=3, interval=0) == ("", "")
    with pytest.raises(ProcessExecutionError):
        execute("false", attempts=2, interval=0)


def test_a_shell_line_is_run_by_a_shell() -> None:
    assert execute("echo a | tr a b", shell=True)[0] == "b\n"

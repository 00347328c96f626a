"""Whether the running kernel has a module, or can get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.commands.examination.findings import Level
from csi_cinderlib.commands.examination.host import View
from csi_cinderlib.commands.examination.modules import State, finding, judge_steps, look
from tests.support.hosts import RELEASE, host, programs

FOLDER = f"lib/modules/{RELEASE}"
DEPENDS = {f"{FOLDER}/modules.dep": "kernel/drivers/scsi/iscsi_tcp.ko.xz: kernel/drivers/scsi/libiscsi_tcp.ko.xz\n"}


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({"sys/module/iscsi_tcp/refcnt": "0"}, State.PRESENT),
        ({"sys/class/iscsi_transport/tcp/handle": "1"}, State.PRESENT),
        ({f"{FOLDER}/modules.builtin": "kernel/drivers/scsi/iscsi_tcp.ko\n"}, State.PRESENT),
        ({f"{FOLDER}/modules.builtin": "kernel/drivers/scsi/iscsi_tcp_other.ko\n"}, State.ABSENT),
        ({f"{FOLDER}/modules.dep": "kernel/drivers/scsi/iscsi-other.ko:\n"}, State.ABSENT),
        ({}, State.ABSENT),
        ({**DEPENDS, "proc/sys/kernel/modules_disabled": "1\n"}, State.ABSENT),
    ],
)
def test_a_module_is_looked_for_in_the_running_kernel_and_on_the_disk(
    tmp_path: Path, files: dict[str, str], state: State
) -> None:
    assert look(host(tmp_path, files), "iscsi_tcp").state is state


def test_a_file_name_with_dashes_is_the_module_with_underscores(tmp_path: Path) -> None:
    files = {f"{FOLDER}/modules.builtin": "kernel/drivers/nvme/host/nvme-tcp.ko\n"}
    assert look(host(tmp_path, files), "nvme_tcp").state is State.PRESENT


def test_a_kernel_without_loadable_modules_has_what_runs_and_no_more(tmp_path: Path) -> None:
    site = host(tmp_path, DEPENDS)
    (tmp_path / "proc/modules").unlink()
    found = look(site, "iscsi_tcp")
    assert (found.state, found.detail) == (State.ABSENT, "is not in the running kernel, which does not support modules")


def test_modprobe_is_asked_and_loads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path / "bin", modprobe=f'echo "$@" >{tmp_path}/asked; echo "insmod /lib/x.ko"')
    assert look(host(tmp_path, DEPENDS), "iscsi_tcp").state is State.LOADABLE
    assert "--dry-run" in (tmp_path / "asked").read_text().split()


def test_a_module_that_modprobe_cannot_load_is_not_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path / "bin", modprobe="echo not found >&2; exit 1")
    found = look(host(tmp_path, DEPENDS), "iscsi_tcp")
    assert found.state is State.UNKNOWN
    assert "not found" in found.detail


@pytest.mark.parametrize("line", ["install /bin/false", "install /usr/bin/true ", "install /bin/false --x"])
def test_a_module_that_the_host_forbids_cannot_be_loaded(line: str) -> None:
    assert judge_steps("iscsi_tcp", f"insmod /lib/a.ko\n{line}\n").state is State.ABSENT


def test_a_module_that_a_container_cannot_look_for_is_unknown(tmp_path: Path) -> None:
    said = finding(host(tmp_path, DEPENDS, view=View.HIDDEN), "iscsi module", "iscsi_tcp", required=True)
    assert said.level is Level.UNKNOWN
    assert "does not see the host" in said.detail


def test_a_missing_module_is_bad_only_where_it_is_required(tmp_path: Path) -> None:
    site = host(tmp_path)
    assert finding(site, "m", "iscsi_tcp", required=True).level is Level.BAD
    assert finding(site, "m", "iscsi_tcp", required=False).level is Level.NOTE

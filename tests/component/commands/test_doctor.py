"""`doctor` as it is called: options, formats and exit codes, on this very machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from csi_cinderlib.commands.examination.protocols import of_backend, of_settings
from csi_cinderlib.config import load
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError
from tests.support.hosts import put

LEVELS = {"ok", "note", "unknown", "bad"}


def doctor(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "csi_cinderlib", "doctor", "--state-dir", str(tmp_path / "state"), *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CINDERLIB_")}
    return subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=120, check=False)


def rows(tmp_path: Path, *words: str) -> list[dict[str, str]]:
    done = doctor(tmp_path, "-o", "json", *words)
    assert done.returncode in (0, 1), done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def test_it_changes_nothing(tmp_path: Path) -> None:
    assert rows(tmp_path, "--protocol", "iscsi", "--multipath")
    assert list(tmp_path.iterdir()) == []


def test_each_finding_has_a_level_and_what_is_not_good_has_a_detail(tmp_path: Path) -> None:
    for row in rows(tmp_path):
        assert row["level"] in LEVELS
        assert row["what"] and row["detail"], row
        assert row["advice"] or row["level"] != "bad", row


def test_this_machine_is_what_the_kernel_says_it_is(tmp_path: Path) -> None:
    found = {row["what"]: row for row in rows(tmp_path, "--protocol", "fibre_channel", "--protocol", "iscsi")}
    has_ports = Path("/sys/class/fc_host").is_dir() and any(Path("/sys/class/fc_host").iterdir())
    assert (found["fibre channel HBA"]["level"] == "bad") is not has_ports
    if Path("/sys/module/iscsi_tcp").exists():
        assert found["iscsi module"]["level"] == "ok"
    elif not Path("/proc/modules").exists():
        assert found["iscsi module"]["level"] == "bad"
    listens = "@ISCSIADM_ABSTRACT_NAMESPACE" in Path("/proc/net/unix").read_text().split()
    if found["host"]["level"] == "ok":
        assert (found["iscsid"]["level"] == "ok") is listens


def test_the_exit_code_is_1_when_something_that_is_required_is_bad_whatever_is_shown(tmp_path: Path) -> None:
    for level in ("bad", "ok"):
        done = doctor(tmp_path, "--protocol", "scaleio", "--level", level, "-o", "json")
        assert done.returncode == 1
        assert {row["level"] for row in json.loads(done.stdout)} == {level}


def test_yaml_and_a_table_show_the_same(tmp_path: Path) -> None:
    done = doctor(tmp_path, "-o", "yaml", "--level", "ok")
    names = [row["what"] for row in yaml.safe_load(done.stdout)]
    table = doctor(tmp_path, "--level", "ok").stdout.splitlines()
    assert table[0].split() == ["WHAT", "LEVEL", "FINDING"]
    assert [line.split("  ")[0] for line in table[1:]] == names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol", "iscs"], "--protocol: unknown protocol 'iscs'; did you mean 'iscsi'?"),
        (["--portal", "192.0.2.1"], "--portal: must be HOST:PORT, such as"),
        (["--level", "good"], "'good' is not one of"),
    ],
)
def test_doctor_exits_with_2_on_bad_options(tmp_path: Path, words: list[str], message: str) -> None:
    done = doctor(tmp_path, *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_configuration_says_what_must_work_here(tmp_path: Path) -> None:
    driver = "cinder.volume.drivers.dell_emc.sc.storagecenter_fc.SCFCDriver"
    text = f"backends: {{a: {{driver: {driver}}}, b: {{driver: x.Some}}}}\n"
    put(tmp_path, {"all.yaml": f"mode: all\n{text}", "controller.yaml": f"mode: controller\n{text}"})
    found = rows(tmp_path, "--config", str(tmp_path / "all.yaml"))
    assert {row["detail"] for row in found if row["what"] == "back end a"} == {"needs fibre_channel here"}
    assert {row["level"] for row in found if row["what"] == "back end b"} == {"unknown"}
    assert (
        "bad" in {row["level"] for row in found if row["what"].startswith("fibre")}
        or Path("/sys/class/fc_host").is_dir()
    )
    alone = rows(tmp_path, "--config", str(tmp_path / "controller.yaml"))
    assert not [row for row in alone if row["what"].startswith("back end")]
    assert {row["level"] for row in alone if row["what"].startswith("fibre channel")} <= {"note", "ok"}


@pytest.mark.parametrize(
    ("driver", "options", "protocol"),
    [
        ("cinder.volume.drivers.pure.PureISCSIDriver", {}, "iscsi"),
        ("cinder.volume.drivers.pure.PureFCDriver", {}, "fibre_channel"),
        ("cinder.volume.drivers.pure.PureNVMEDriver", {}, "nvmeof"),
        ("cinder.volume.drivers.ibm.storwize_svc.storwize_svc_fc.StorwizeSVCFCDriver", {}, "fibre_channel"),
        ("cinder.volume.drivers.hpe.hpe_3par_iscsi.HPE3PARISCSIDriver", {}, "iscsi"),
        ("cinder.volume.drivers.rbd.RBDDriver", {}, "rbd"),
        ("cinder.volume.drivers.nfs.NfsDriver", {}, "nfs"),
        ("cinder.volume.drivers.quobyte.QuobyteDriver", {}, "quobyte"),
        ("cinder.volume.drivers.lvm.LVMVolumeDriver", {}, "iscsi"),
        ("cinder.volume.drivers.lvm.LVMVolumeDriver", {"target_helper": "nvmet"}, "nvmeof"),
        ("cinder.volume.drivers.lvm.LVMVolumeDriver", {"target_protocol": "iser"}, "iser"),
        ("cinder.volume.drivers.netapp.common.NetAppDriver", {"netapp_storage_protocol": "fc"}, "fibre_channel"),
        ("cinder.volume.drivers.netapp.common.NetAppDriver", {"netapp_storage_protocol": "odd"}, None),
        ("cinder.volume.drivers.netapp.common.NetAppDriver", {}, None),
        ("csi_cinderlib.drivers.loopfile.LoopFileDriver", {}, ""),
        ("somebodys.Own", {}, None),
    ],
)
def test_the_protocol_is_derived_from_driver_and_options(
    driver: str, options: dict[str, object], protocol: str | None
) -> None:
    assert of_backend(BackendSettings(name="a", driver=driver, options=options)) == protocol


def test_without_a_configuration_nothing_is_required(tmp_path: Path) -> None:
    settings = load.load((), environment={}, overrides=load.Overrides(state_dir=str(tmp_path)))
    assert of_settings(settings) == (frozenset(), [])
    with pytest.raises(ConfigurationError):
        load.load((tmp_path / "absent.yaml",), environment={})

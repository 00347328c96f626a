"""CHAP passwords reach iscsid by its records and not by arguments of iscsiadm."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from oslo_concurrency.processutils import ProcessExecutionError

from csi_cinderlib.brick import iscsi_records
from csi_cinderlib.brick.execute import execute

CANARY = "c4nary=1 #x"
IQN = "iqn.2001-01.com.example:vol"
UPDATE = ("iscsiadm", "-m", "node", "-T", IQN, "-p", "{portal}", "--op", "update", "-n", "{name}", "-v", CANARY)


def update(portal: str = "10.0.0.1:3260", name: str = "node.session.auth.password", iqn: str = IQN) -> tuple[str, ...]:
    return tuple(part.format(portal=portal, name=name) if part != IQN else iqn for part in UPDATE)


def record(root: Path, path: str, home: str = "etc/iscsi") -> Path:
    file = root / home / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("# BEGIN RECORD 2.1.8\nnode.startup = manual\n# END RECORD")
    return file


def stored(root: Path, argv: tuple[str, ...]) -> None:
    iscsi_records.store(iscsi_records.parse(argv), str(root))


@pytest.mark.parametrize(
    ("path", "portal"),
    [
        (f"nodes/{IQN}/10.0.0.1,3260", "10.0.0.1:3260"),
        (f"nodes/{IQN}/10.0.0.1,3260", "10.0.0.1"),
        (f"nodes/{IQN}/10.0.0.1,3260,1/default", "10.0.0.1:3260"),
        (f"nodes/{IQN}/10.0.0.1,3260,1/default", "10.0.0.1:3260,1"),
        (f"nodes/{IQN}/fe80::1,860,1/iser", "[FE80::1]:860"),
        (f"nodes/{IQN}/fe80::1,3260", "[fe80::1]"),
        (f"nodes/{IQN}/array.example,3260,1/default", "Array.example:3260"),
    ],
)
@pytest.mark.parametrize("home", iscsi_records.HOMES)
def test_a_password_goes_to_the_record_of_its_target(tmp_path: Path, path: str, portal: str, home: str) -> None:
    file = record(tmp_path, path, home)
    others = [
        record(tmp_path, f"nodes/{other}/default", home)
        for other in (f"{IQN}/10.0.0.9,3260,1", f"{IQN}/10.0.0.1,9,1", f"{IQN}2/10.0.0.1,3260,1")
    ]
    file.chmod(0o644)
    stored(tmp_path, update(portal))
    assert file.read_text().splitlines()[-1] == f"node.session.auth.password = {CANARY}"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [other for other in others if CANARY in other.read_text()] == []


def test_a_password_goes_to_the_record_of_each_interface(tmp_path: Path) -> None:
    files = [record(tmp_path, f"nodes/{IQN}/10.0.0.1,3260,1/{interface}") for interface in ("default", "iser")]
    stored(tmp_path, update())
    assert [CANARY in file.read_text() for file in files] == [True, True]


@pytest.mark.parametrize("path", ["10.0.0.1,3260", "10.0.0.1,3260/st_config"])
def test_a_password_for_discovery_goes_to_its_record(tmp_path: Path, path: str) -> None:
    file = record(tmp_path, f"send_targets/{path}")
    argv = ("iscsiadm", "-m", "discoverydb", "-t", "sendtargets", "-p", "10.0.0.1:3260", "--op", "update")
    user = ("-n", "discovery.sendtargets.auth.username", "-v", "user")
    parsed = iscsi_records.parse((*argv, *user, "-n", "discovery.sendtargets.auth.password", "-v", CANARY))
    assert (parsed.argv, parsed.sets_more) == ((*argv, *user), True)
    iscsi_records.store(parsed, str(tmp_path))
    assert f"\ndiscovery.sendtargets.auth.password = {CANARY}\n" in file.read_text()


def test_an_absolute_link_of_the_host_leads_to_a_place_of_the_host(tmp_path: Path) -> None:
    file = record(tmp_path, f"nodes/{IQN}/10.0.0.1,3260,1/default", "srv/iscsi")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/iscsi").symlink_to("/srv/iscsi")
    stored(tmp_path, update())
    assert CANARY in file.read_text()


@pytest.mark.parametrize("portal", ["10.0.0.2:3260", "10.0.0.1:99", "", "a,b", "[x"])
@pytest.mark.parametrize("iqn", [IQN, "", "..", "a/../b"])
def test_without_a_record_it_fails_as_iscsiadm_does(tmp_path: Path, portal: str, iqn: str) -> None:
    file = record(tmp_path, f"nodes/{IQN}/10.0.0.1,3260,1/default")
    with pytest.raises(iscsi_records.NoRecord, match="No records found"):
        stored(tmp_path, update(portal, iqn=iqn))
    assert CANARY not in file.read_text()


def test_what_lies_there_and_is_no_record_is_left_alone(tmp_path: Path) -> None:
    file = record(tmp_path, f"nodes/{IQN}/10.0.0.1,3260,1/default")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    (file.parent / "directory").mkdir()
    stored(tmp_path, update())
    file.unlink()
    file.symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        stored(tmp_path, update())
    assert elsewhere.read_text() == "kept"


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        *((odd, "contains a control character") for odd in ("a\nnode.startup = automatic", "a\r", "a\0b", "\x7f")),
        *((odd, "begins or ends with a space") for odd in (" secret", "secret ", " ")),
        *((odd, "is 256 bytes long, more than 255") for odd in ("x" * 256, "\u00fc" * 128)),
    ],
)
def test_a_password_that_a_line_cannot_hold_is_refused_and_not_shown(password: str, problem: str) -> None:
    argv = (*update()[:-1], password)
    with pytest.raises(ValueError, match=problem) as refused:
        iscsi_records.parse(argv)
    assert password == " " or password not in str(refused.value)
    if os.geteuid() == 0:
        with pytest.raises(ProcessExecutionError, match=r"-v \*\*\*") as failed:
            execute(*argv)
        assert failed.value.exit_code == 6


@pytest.mark.parametrize("name", ["node.session.auth.username", "node.startup", "node.session.auth.authmethod"])
def test_what_is_no_password_stays_an_argument(name: str) -> None:
    argv = update(name=name)
    assert iscsi_records.parse(argv) == iscsi_records.Update(argv, ())


def test_a_password_of_the_target_is_one_too() -> None:
    assert iscsi_records.parse(update(name="node.session.auth.password_in")).passwords


LONG = "x" * iscsi_records.LONGEST
WITH_ISCSIADM = f"""
from csi_cinderlib.brick.execute import execute

target = ("iscsiadm", "-m", "node", "-T", {IQN!r}, "-p", "10.9.8.7:3260")
execute(*target, "--interface", "default", "--op", "new")
for name, value in (("authmethod", "CHAP"), ("username", "user"), ("password", {CANARY!r})):
    execute(*target, "--op", "update", "-n", "node.session.auth." + name, "-v", value)
print(execute(*target, "-S")[0])
execute(*target, "--op", "update", "-n", "node.startup", "-v", "automatic")
print(execute(*target, "-S")[0])

execute(*target, "--op", "update", "-n", "node.session.auth.password_in", "-v", {LONG!r})
print(execute(*target, "-S")[0])

discovery = ("iscsiadm", "-m", "discoverydb", "-t", "sendtargets", "-p", "10.9.8.7:3260", "-I", "default")
execute(*discovery, "--op", "new", check_exit_code=[0, 255])
secret = ("-n", "discovery.sendtargets.auth.authmethod", "-v", "CHAP", "-n", "discovery.sendtargets.auth.password", "-v", {CANARY!r})
execute(*discovery, "--op", "update", *secret)
print(execute(*discovery, "-S", "--op", "show")[0])
"""


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("iscsiadm"), reason="this host has no iscsiadm")
def test_iscsiadm_itself_reads_them_from_there(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    script = tmp_path / "script.py"
    script.write_text(WITH_ISCSIADM)
    setup = (
        "mount -t tmpfs none /etc/iscsi && mount -t tmpfs none /run/lock && mkdir -p /run/lock/iscsi && mkdir -p /etc/iscsi/ifaces /etc/iscsi/nodes /etc/iscsi/send_targets && "
        'echo InitiatorName=iqn.test:x > /etc/iscsi/initiatorname.iscsi && touch /etc/iscsi/iscsid.conf && exec "$@"'
    )
    argv = ["unshare", "--mount", "sh", "-c", setup, "sh", sys.executable, str(script)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": "."})
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count(f"node.session.auth.password = {CANARY}\n") == 3
    assert ended.stdout.count(f"node.session.auth.password_in = {LONG}\n") == 1
    assert ended.stdout.count(f"discovery.sendtargets.auth.password = {CANARY}\n") == 1

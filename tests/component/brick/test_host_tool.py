"""deploy/host-tool and those who ask what it would find, in mount namespaces of their own: process 1's is the host, another the pod."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from csi_cinderlib.host import commands

ROOT = Path(__file__).resolve().parents[3]
HOST_TOOL = ROOT / "deploy/host-tool"
HOST = """
set -e
mount -t tmpfs none /usr/local/sbin
printf '#!/bin/sh\\necho "host $0 ($1) ($2)"; cat; exit 5\\n' >/usr/local/sbin/iscsiadm
printf '#!/bin/sh\\nreadlink /proc/self/ns/ipc\\n' >/usr/local/sbin/multipath
chmod +x /usr/local/sbin/*
for absent in /usr/sbin/nvme /usr/sbin/multipathd; do
    if [ -e $absent ]; then mount --bind /dev/null $absent; fi  # not executable, so not there
done
ln -s /only/on/some/host/rbd /usr/local/sbin/rbd
unshare --mount --ipc sh -ec "$POD" sh "$@" || exit $?
"""
POD = """
mount -t tmpfs none /usr/local/sbin
cp "$HOST_TOOL" /usr/local/sbin/host-tool
for tool in iscsiadm multipath multipathd nvme rbd; do ln -s host-tool /usr/local/sbin/$tool; done
exec "$@"
"""

pytestmark = pytest.mark.root


def in_pod(*argv: str, input: str = "") -> subprocess.CompletedProcess[str]:
    """Run it where five programs are the host's, which has neither nvme nor multipathd, and for rbd a link that leads nowhere."""
    return subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", HOST, "sh", *argv],
        env={"PATH": commands.SEARCH_PATH, "POD": POD, "HOST_TOOL": str(HOST_TOOL), "PYTHONPATH": str(ROOT)},
        input=input,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_hosts_program_gets_arguments_and_input_and_gives_output_and_exit_code() -> None:
    done = in_pod("iscsiadm", "a b", "$c", input="in")
    assert (done.returncode, done.stdout) == (5, "host /usr/local/sbin/iscsiadm (a b) ($c)\nin")


def test_the_hosts_program_uses_the_hosts_semaphores() -> None:
    mine, hosts = in_pod("sh", "-c", "readlink /proc/self/ns/ipc; multipath").stdout.splitlines()
    assert mine != hosts
    assert hosts == str(Path("/proc/self/ns/ipc").readlink())


def test_a_program_that_the_host_lacks_is_named() -> None:
    done = in_pod("nvme", "list")
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == "nvme: the host does not have this tool; install its package on the host\n"


def test_a_pod_without_the_hosts_processes_is_told_so() -> None:
    hidden = ("unshare", "--pid", "--fork", "--mount-proc", "iscsiadm")
    done = in_pod(*hidden)
    assert done.returncode == 127
    assert done.stderr == (
        "iscsiadm: cannot reach the host from this container; it must be privileged and have hostPID\n"
    )


def test_what_is_missing_is_what_the_host_lacks() -> None:
    code = "from csi_cinderlib.brick import tools; print(*tools.missing(['iscsiadm', 'nvme', 'rbd', 'blockdev', 'absent']))"
    done = in_pod(sys.executable, "-c", code)
    assert done.stdout == "nvme absent\n"  # rbd's link is only known to lead nowhere by the host


def test_of_a_host_whose_processes_are_not_seen_every_program_is_missing() -> None:
    """The first process in sight is then the container's own, and its iscsiadm a link to host-tool."""
    code = (
        "from csi_cinderlib.brick import tools; print(*tools.missing(['iscsiadm', 'blockdev'])); tools.require('iscsi')"
    )
    done = in_pod("unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code)
    assert done.stdout == "iscsiadm\n"
    assert (
        "which this container cannot run on the host; the container must be privileged and use hostPID" in done.stderr
    )


def doctor(*words: str, before: tuple[str, ...] = ()) -> tuple[int, dict[str, dict[str, str]]]:
    """Its exit code in the pod, and its findings by what they are about."""
    done = in_pod(*before, sys.executable, "-m", "csi_cinderlib", "doctor", "-o", "json", *words)
    assert done.stdout, done.stderr
    return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)}


HIDDEN = ("unshare", "--pid", "--fork", "--mount-proc")
"""Processes of its own only, as in a pod without hostPID."""


def test_doctor_in_a_pod_says_what_to_install_on_the_host() -> None:
    code, found = doctor("--protocol", "nvmeof")
    assert code == 1
    assert found["nvmeof programs"]["level"] == "bad"
    assert found["nvmeof programs"]["detail"].startswith(
        "needs nvme (Debian package nvme-cli), which is not installed on this host; install it on the host itself"
    )


def test_doctor_in_a_pod_looks_at_the_hosts_storage_stacks_or_says_that_it_cannot() -> None:
    assert doctor()[1]["udisks"]["level"] in ("ok", "note")
    _, hidden = doctor(before=HIDDEN)
    assert hidden["LVM, md, udisks"]["level"] == "unknown"
    assert "udisks" not in hidden


def test_doctor_in_a_pod_that_does_not_see_the_host_calls_nothing_of_it_good() -> None:
    _, found = doctor(before=HIDDEN)
    for what in ("host", "iscsid", "udev", "rpc.statd", "ceph.conf"):
        assert found[what]["level"] == "unknown", found[what]
    _, seen = doctor()
    assert seen["host"] == {
        "level": "ok",
        "what": "host",
        "detail": "visible through its first process (hostPID)",
        "advice": "",
    }


def test_doctor_does_not_take_an_error_for_a_version() -> None:
    code, found = doctor("--protocol", "iscsi")
    assert code == 1
    assert found["iscsi programs"]["level"] == "bad"
    assert found["iscsi programs"]["detail"].startswith("iscsiadm --version: exit code 5")


def test_a_node_logs_at_start_what_to_install_on_the_host() -> None:
    code = (
        "from csi_cinderlib.app import node; from csi_cinderlib.observe import logs; logs.configure(format='json');"
        "node.tell_what_is_missing(multipath=True)"
    )
    event = json.loads(in_pod(sys.executable, "-c", code).stderr)
    assert (event["level"], event["event"]) == ("warning", "node tools missing")
    assert event["nvmeof"].startswith(
        "needs nvme (Debian package nvme-cli), which is not installed on this host; install it on the host"
    )
    assert "multipathd (Debian package multipath-tools)" in event["fibre_channel"]
    assert "rbd" not in event


def test_both_look_at_the_same_places() -> None:
    (folders,) = re.findall(r"^for folder in (.*); do$", HOST_TOOL.read_text(), re.MULTILINE)
    assert folders.split() == commands.SEARCH_PATH.split(":")

"""What iSCSI needs on a host: its kernel module, iscsid and a unique initiator name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from csi_cinderlib.commands.examination import modules
from csi_cinderlib.commands.examination.findings import Finding, note, ok, problem, unknown
from csi_cinderlib.commands.examination.host import HIDDEN, Host

NAME_FILE = "etc/iscsi/initiatorname.iscsi"
_SOCKET = "ISCSIADM_ABSTRACT_NAMESPACE"
"""Abstract socket of iscsid, or of systemd for it (open-iscsi, usr/mgmt_ipc.h)."""
_NAME = re.compile(r"^\s*InitiatorName\s*=\s*(\S+)", re.MULTILINE)
_FORM = re.compile(
    r"iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(:\S+)?|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16}(?:[0-9A-Fa-f]{16})?"
)
_PLACEHOLDER = re.compile(r"example|changeme|localhost|:0+$", re.IGNORECASE)
_DAY = 86400.0


def examine(host: Host, required: frozenset[str]) -> Iterator[Finding]:
    yield modules.finding(host, "iscsi module", "iscsi_tcp", required="iscsi" in required)
    if "iser" in required:
        yield modules.finding(host, "iser module", "ib_iser", required=True)
    needed = bool(required & {"iscsi", "iser"})
    yield _daemon(host, required=needed)
    yield from _network(host, required=needed)
    yield _name(host, required=needed)
    yield from _sessions(host)


def _daemon(host: Host, *, required: bool) -> Finding:
    running = "iscsid" in host.processes()
    if host.listens(_SOCKET):
        return ok("iscsid", "is running" if running else "is started by systemd at the first connection")
    if running:
        detail = "is running, but does not listen in this network namespace"
        return problem("iscsid", detail, "run the node in the host's network (hostNetwork)", required=required)
    if host.is_hidden:
        return unknown(
            "iscsid", f"cannot be checked: {HIDDEN}", "run on the host: systemctl status iscsid.socket iscsid"
        )
    return problem(
        "iscsid", "is not running", "run on the host: systemctl enable --now iscsid.socket", required=required
    )


def _network(host: Host, *, required: bool) -> Iterator[Finding]:
    """Sessions belong to a network namespace, and iscsiadm only reaches iscsid in its own namespace."""
    if host.has_hosts_network is False:
        detail = "this container is not in the host's network; iscsiadm cannot reach iscsid"
        yield problem("iscsi network", detail, "set node.hostNetwork: true in the chart's values", required=required)


def _name(host: Host, *, required: bool) -> Finding:
    text, advice = host.text(NAME_FILE), "create a unique name with iscsi-iname, or reinstall open-iscsi"
    if text is None:
        return problem("iscsi name", f"/{NAME_FILE} cannot be read or does not exist", advice, required=required)
    names = _NAME.findall(text)
    if not names:
        return problem("iscsi name", f"/{NAME_FILE} has no InitiatorName", advice, required=required)
    if complaint := judge_names(names):
        return problem("iscsi name", complaint, advice, required=required)
    in_use = {item["initiatorname"] for _, item in host.attributes("sys/class/iscsi_session", "initiatorname")} - {""}
    if in_use - {names[0]}:
        detail = f"is {names[0]}, but sessions use {', '.join(sorted(in_use))}: the file changed after iscsid read it"
        return note("iscsi name", detail, "log the sessions out, then restart iscsid")
    if _is_of_image(host):
        detail = (
            f"{names[0]}, older than this host's /etc/machine-id: it may come from a disk image that other hosts share"
        )
        return note(
            "iscsi name",
            detail,
            "compare it with other hosts; hosts with the same name can corrupt each other's volumes",
        )
    return ok("iscsi name", names[0])


def judge_names(names: list[str]) -> str:
    """The fault in an initiator's names; "" if there is none."""
    if len(set(names)) > 1:
        return f"/{NAME_FILE} has {len(names)} names: {', '.join(names)}"
    if not _FORM.fullmatch(names[0]):
        return f"{names[0]} is not an iSCSI name (iqn.YYYY-MM.DOMAIN:ID, eui. or naa.)"
    if _PLACEHOLDER.search(names[0]):
        return f"{names[0]} looks like a placeholder"
    return ""


def _is_of_image(host: Host) -> bool:
    try:
        written = (host.root / NAME_FILE).stat().st_mtime
        first_boot = ((host.files or host.root) / "etc/machine-id").stat().st_mtime
    except OSError:
        return False
    return not host.is_hidden and first_boot - written > _DAY


def _sessions(host: Host) -> Iterator[Finding]:
    for name, item in host.attributes("sys/class/iscsi_session", "state", "targetname"):
        if item["state"] not in ("LOGGED_IN", ""):
            detail = f"{name} to {item['targetname'] or 'an unknown target'} is {item['state']}"
            yield note(
                "iscsi session", detail, "check the network to the portal; run on the host: iscsiadm -m session -P 3"
            )

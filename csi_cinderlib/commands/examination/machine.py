"""The machine itself: permissions, devices, udev, mounts, clock, limits and security modules."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import struct
from collections.abc import Iterator

from csi_cinderlib.commands.examination.findings import Finding, note, ok, problem, unknown
from csi_cinderlib.commands.examination.host import HIDDEN, Host, View
from csi_cinderlib.host import kernel, mounttable
from csi_cinderlib.host.mounttable import Mount

CAPABILITIES = {
    21: ("CAP_SYS_ADMIN", "mounts, loop devices and iSCSI sessions fail"),
    24: ("CAP_SYS_RESOURCE", "ext4 cannot grow while it is mounted"),
    17: ("CAP_SYS_RAWIO", "SCSI commands that identify disks can fail"),
    1: ("CAP_DAC_OVERRIDE", "files of other users cannot be accessed"),
    18: ("CAP_SYS_CHROOT", "the host's programs cannot be run from a container"),
    19: ("CAP_SYS_PTRACE", "the host cannot be seen from a container"),
}
"""Capabilities that a node uses, by number (linux/capability.h), and what fails without each."""
_ESSENTIAL = frozenset({21})
_FROM_POD = frozenset({18, 19})
_UNSYNCHRONISED = 0x40
_TIMEX_STATUS = 40
"""Offset of `status` in struct timex on 64-bit machines (linux/timex.h). The constant above is STA_UNSYNC."""
_LEAST_FILES = 4096
_CONFINED = re.compile(r":(container(_kvm|_init)?|svirt_lxc_net)_t(:|$)")
_SELINUX_LABEL = re.compile(r"\w+:\w+:\w+(:.*)?")
_CHOSEN = re.compile(r"\[(\w+)\]")


def examine(
    host: Host, required: frozenset[str], *, multipath: bool, kubelet: str, attaches: bool = True
) -> Iterator[Finding]:
    """Check the machine. Rights, host devices and shared mounts are required only on a node that attaches volumes."""
    yield _view(host)
    yield from _privileges(host, attaches)
    yield _loop_devices(host)
    mounts = _mounts(host)
    yield _devices(host, mounts, attaches)
    yield _udev(host, required="fibre_channel" in required or multipath)
    yield _propagation(host, mounts, kubelet, attaches)
    yield _clock()
    yield _open_files()
    yield _lockdown(host)
    yield from _labels(host, attaches)


def _view(host: Host) -> Finding:
    if host.view is View.HIDDEN:
        return unknown("host", f"not visible: {HIDDEN}", "run it on the host, or in the node's pod, which has hostPID")
    return ok("host", "visible directly" if host.view is View.DIRECT else "visible through its first process (hostPID)")


def _privileges(host: Host, attaches: bool) -> Iterator[Finding]:
    """Check capabilities, not only the user id, because containers restrict root."""
    if os.geteuid() != 0:
        yield problem(
            "privileges", f"running as user {os.geteuid()}", "run it as root, as a node does", required=attaches
        )
        return
    shares = (host.text("proc/self/uid_map") or "").split()
    if len(shares) == 3 and shares != ["0", "0", str(2**32 - 1)]:
        detail = "running as root of a user namespace: devices cannot be mounted"
        yield problem("privileges", detail, "run it outside user namespaces (hostUsers: true)", required=attaches)
        return
    held = _effective(host)
    if held is None:
        yield unknown("privileges", "/proc/self/status cannot be read")
        return
    lacking = [number for number in CAPABILITIES if not held >> number & 1]
    lacking = [number for number in lacking if number not in _FROM_POD or host.view is not View.DIRECT]
    for number in lacking:
        name, effect = CAPABILITIES[number]
        advice = "run the container privileged, or give it this capability"
        yield problem("privileges", f"{name} is missing: {effect}", advice, required=attaches and number in _ESSENTIAL)
    if not lacking:
        yield ok("privileges", "running as root, with all capabilities that a node uses")


def _effective(host: Host) -> int | None:
    for line in (host.text("proc/self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return None


def _loop_devices(host: Host) -> Finding:
    if not host.has("dev/loop-control"):
        return note("loop devices", "no /dev/loop-control", "only needed for volumes in files: modprobe loop")
    used = sum(host.has(f"sys/block/{name}/loop/backing_file") for name in host.names("sys/block"))
    return ok("loop devices", f"/dev/loop-control; {used} in use")


def _mounts(host: Host) -> tuple[Mount, ...]:
    found = []
    for line in (host.text("proc/self/mountinfo") or "").split("\n"):
        try:
            found.append(mounttable.parse_line(line))
        except ValueError:  # an option contains a line break
            continue
    return tuple(found)


def _devices(host: Host, mounts: tuple[Mount, ...], attaches: bool) -> Finding:
    """Check that /dev is the host's devtmpfs, in which the kernel creates devices."""
    mounted = [mount for mount in mounts if mount.target == "/dev"]
    if not mounts:
        return unknown("/dev", "/proc/self/mountinfo cannot be read")
    if mounted and mounted[-1].fs_type == "devtmpfs":
        return ok("/dev", "is the host's (devtmpfs)")
    kind = mounted[-1].fs_type if mounted else "a plain directory"
    if host.view is View.DIRECT:
        return note(
            "/dev",
            f"is {kind}, not devtmpfs: new devices appear only if another program creates them",
            "mount devtmpfs on /dev",
        )
    return problem(
        "/dev",
        f"is the container's own ({kind}): attached disks do not appear",
        "mount the host's /dev",
        required=attaches,
    )


def _udev(host: Host, *, required: bool) -> Finding:
    if host.host_text("run/udev/queue") is not None or (host.files and (host.files / "run/udev/control").exists()):
        return ok("udev", "is running (/run/udev/control)")
    if host.processes() & {"systemd-udevd", "udevd", "eudev"} or "(udev-worker)" in host.processes():
        return ok("udev", "is running")
    if host.is_hidden:
        return unknown("udev", f"cannot be checked: {HIDDEN}")
    detail = "is not running: links such as /dev/disk/by-path, which Fibre Channel and multipath need, are missing"
    return problem("udev", detail, "run on the host: systemctl enable --now systemd-udevd", required=required)


def _propagation(host: Host, mounts: tuple[Mount, ...], kubelet: str, attaches: bool) -> Finding:
    what = "mount propagation"
    if not host.has(kubelet.lstrip("/")):
        return note(
            what,
            f"{kubelet} does not exist here: not a Kubernetes node, or its kubelet uses another directory",
            "set --kubelet-dir",
        )
    places = [
        place for place in (f"{kubelet}/pods", f"{kubelet}/plugins/kubernetes.io/csi") if host.has(place.lstrip("/"))
    ]
    private = [place for place in places or [kubelet] if not is_shared(mounts, place)]
    if not mounts:
        return unknown(what, "/proc/self/mountinfo cannot be read")
    if not private:
        return ok(what, f"mounts below {' and '.join(places or [kubelet])} reach other mount namespaces (shared)")
    detail = f"{' and '.join(private)} not shared: pods do not see volumes mounted there"
    if host.view is View.DIRECT:
        return note(what, detail, "run on the host: mount --make-rshared /")
    return problem(what, detail, "mount it with mountPropagation: Bidirectional", required=attaches)


def is_shared(mounts: tuple[Mount, ...], place: str) -> bool:
    """Whether the mount that contains a path is in a peer group. The last of several mounts on one path is the visible one."""
    holding = [mount for mount in mounts if place == mount.target or place.startswith(mount.target.rstrip("/") + "/")]
    longest = max((len(mount.target) for mount in holding), default=0)
    return any(mount.shared for mount in [mount for mount in holding if len(mount.target) == longest][-1:])


def _clock() -> Finding:
    """Check the synchronisation state that a time daemon has set in the kernel (adjtimex(2))."""
    state = ctypes.create_string_buffer(512)
    try:
        kernel.call("adjtimex", ctypes.addressof(state))
    except OSError as error:
        return unknown("clock", f"cannot read its state: {error.strerror}")
    (status,) = struct.unpack_from("i", state, _TIMEX_STATUS)
    if status & _UNSYNCHRONISED:
        return note(
            "clock",
            "no time daemon has marked the kernel's clock as synchronised",
            "run chrony (with rtcsync) or systemd-timesyncd; tokens and certificates depend on the clock",
        )
    return ok("clock", "is synchronised")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"this process may open {soft} files (at most {hard})"
    if soft != resource.RLIM_INFINITY and soft < _LEAST_FILES:
        return note("open files", detail, f"raise the limit to {_LEAST_FILES} or more (LimitNOFILE= in systemd)")
    return ok("open files", detail)


def _lockdown(host: Host) -> Finding:
    text = host.text("sys/kernel/security/lockdown") or host.host_text("sys/kernel/security/lockdown")
    if text is None:
        if host.text("sys/kernel/security/lsm") or host.host_text("sys/kernel/security/lsm"):
            return ok("kernel lockdown", "not supported by this kernel")
        return unknown("kernel lockdown", "securityfs is not mounted, or the kernel has no lockdown")
    chosen = _CHOSEN.search(text)
    mode = chosen[1] if chosen else text.strip()
    if mode == "none":
        return ok("kernel lockdown", "is off")
    return note(
        "kernel lockdown",
        f"is on ({mode})",
        "vendors' kernel modules must be signed with a key that the kernel trusts",
    )


def _labels(host: Host, attaches: bool) -> Iterator[Finding]:
    label = (host.text("proc/self/attr/current") or "").strip("\0\n ")
    enforcing = (host.text("sys/fs/selinux/enforce") or "").strip()
    yield _selinux(label, enforcing, attaches)
    if (host.text("sys/module/apparmor/parameters/enabled") or "").strip() != "Y":
        yield ok("AppArmor", "is not enabled")
    elif label.endswith("(enforce)"):
        yield note(
            "AppArmor",
            f"confines this process ({label}): mounts may be denied",
            "set the AppArmor profile of the node's container to Unconfined",
        )
    else:
        yield ok("AppArmor", f"does not confine this process ({label or 'unconfined'})")


def _selinux(label: str, enforcing: str, attaches: bool) -> Finding:
    """Check SELinux. A container may not see the mode, but always sees the label of its processes."""
    if not enforcing and not _SELINUX_LABEL.fullmatch(label):
        return ok("SELinux", "is not enabled")
    if enforcing == "0":
        return ok("SELinux", "is permissive")
    if not _CONFINED.search(label):
        return ok("SELinux", f"does not confine this process ({label or 'no label'})")
    advice = "run the container privileged (spc_t)"
    if not enforcing:
        return unknown(
            "SELinux", f"this process is confined ({label}); the mode of SELinux is not visible here", advice
        )
    return problem("SELinux", f"is enforcing, and this process is confined ({label})", advice, required=attaches)

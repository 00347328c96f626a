"""multipathd: the settings that it really uses, and its paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from csi_cinderlib.brick import tools
from csi_cinderlib.commands.examination import modules
from csi_cinderlib.commands.examination.findings import Finding, note, ok, problem, unknown
from csi_cinderlib.commands.examination.host import HIDDEN, Host, try_says

_WORDS = re.compile(r'"((?:[^"]|"")*)"|([{}])|([^\s"{}]+)')
_EVERYTHING = frozenset({".*", "*", "^.*", "^.*$", ".*$", ".+"})


@dataclass(frozen=True, slots=True)
class Section:
    """A section of multipath.conf: keywords with their values, and sections inside, in order."""

    values: tuple[tuple[str, str], ...] = ()
    sections: tuple[tuple[str, Section], ...] = ()

    def get(self, key: str, default: str = "") -> str:
        """The last one counts."""
        return next((value for name, value in reversed(self.values) if name == key), default)

    def named(self, name: str) -> Section:
        """All sections of that name together."""
        found = [section for known, section in self.sections if known == name]
        return Section(
            tuple(value for section in found for value in section.values),
            tuple(inner for section in found for inner in section.sections),
        )


@dataclass(frozen=True, slots=True)
class Clause:
    """Something about the settings.

    Attributes:
        hurts: volumes can go wrong; otherwise it is for consideration.
    """

    detail: str
    advice: str
    hurts: bool = True


def examine(host: Host, *, required: bool) -> Iterator[Finding]:
    if lacking := tools.missing(tools.MULTIPATH):
        yield problem("multipathd", f"needs {tools.advice(lacking)}", "install multipath-tools", required=required)
        return
    yield modules.finding(host, "multipath module", "dm_multipath", required=required)
    answer, why = _ask(host)
    if answer:
        yield ok("multipathd", answer)
    else:
        yield problem("multipathd", why, "on the host: systemctl enable --now multipathd", required=required)
    yield from _settings(host, is_running=bool(answer), required=required)
    if answer:
        yield from _paths(host)


def _ask(host: Host) -> tuple[str, str]:
    """What the daemon says of itself, or "" and why it says nothing. One that does not run is not asked: that could start it."""
    if not host.is_hidden and "multipathd" not in host.processes():
        return "", "is not running"
    answer, why = try_says(host, ("multipathd", "show", "daemon"))
    return answer.strip(), f"does not answer ({why or 'it says nothing'})"


def _settings(host: Host, *, is_running: bool, required: bool) -> Iterator[Finding]:
    text, source = _effective(host, is_running=is_running)
    if not text:
        yield unknown("multipath settings", source, "start multipathd, and run this again")
        return
    clauses = judge(parse(text))
    for clause in clauses:
        detail = f"{clause.detail} ({source})"
        yield (
            problem("multipath settings", detail, clause.advice, required=required)
            if clause.hurts
            else note("multipath settings", detail, clause.advice)
        )
    if not any(clause.hurts for clause in clauses):
        yield ok("multipath settings", f"none of them puts volumes at risk ({source})")


def _effective(host: Host, *, is_running: bool) -> tuple[str, str]:
    """The settings in the form of multipath.conf, and where they come from; "" and why there are none."""
    if is_running:
        for question in (("show", "config", "local"), ("show", "config")):  # versions before 0.7.9 know the latter only
            text, why = try_says(host, ("multipathd", *question))
            if text.strip().startswith("defaults"):
                return text, "asked of multipathd"
        return "", f"multipathd does not tell its settings: {why or text.strip()[:200]}"
    text, why = try_says(host, ("multipath", "-t"))
    if text.strip().startswith("defaults"):
        return text, "as multipathd would read them; it is not running"
    if host.is_hidden:
        return "", f"cannot be seen: {HIDDEN}"
    if file := host.host_text("etc/multipath.conf"):
        return file, "from /etc/multipath.conf; multipathd is not running, and defaults are not known"
    return "", f"cannot be had: multipathd is not running, and there is no /etc/multipath.conf ({why})"


def parse(text: str) -> Section:
    """multipath.conf, or what `show config` prints: one keyword a line; # and ! begin comments outside quotes."""
    stack: list[tuple[str, list[tuple[str, str]], list[tuple[str, Section]]]] = [("", [], [])]
    for line in text.splitlines():
        words = _words(line)
        while words:
            if words[0] == "}":
                if len(stack) > 1:
                    name, values, sections = stack.pop()
                    stack[-1][2].append((name, Section(tuple(values), tuple(sections))))
                words = words[1:]
            elif words[1:2] == ["{"]:
                stack.append((words[0], [], []))
                words = words[2:]
            else:
                end = next((index for index, word in enumerate(words) if word == "}"), len(words))
                stack[-1][1].append((words[0], " ".join(words[1:end])))
                words = words[end:]
    while len(stack) > 1:
        name, values, sections = stack.pop()
        stack[-1][2].append((name, Section(tuple(values), tuple(sections))))
    return Section(tuple(stack[0][1]), tuple(stack[0][2]))


def _words(line: str) -> list[str]:
    words: list[str] = []
    for found in _WORDS.finditer(line):
        quoted, brace, plain = found.groups()
        if plain and plain[0] in "#!":
            break
        words.append(quoted.replace('""', '"') if quoted is not None else brace or plain)
    return words


def judge(config: Section) -> tuple[Clause, ...]:
    """What in the settings makes volumes go wrong, or is worth knowing."""
    defaults, overrides = config.named("defaults"), config.named("overrides")
    return (*_identity(defaults), *_failing(config, defaults, overrides), *_blacklist(config))


def _identity(defaults: Section) -> Iterator[Clause]:
    """Settings by which multipathd takes a device for what it is not, or takes what is not its own."""
    finds = defaults.get("find_multipaths", "strict")
    if finds in ("no", "off", "greedy"):
        yield Clause(
            f"find_multipaths {finds} lets multipathd take disks that have one path only",
            "set find_multipaths yes or strict",
        )
    if defaults.get("recheck_wwid", "no") in ("no", "off", "0"):
        yield Clause(
            "recheck_wwid is off: a reused LUN can be taken for the old volume", "set recheck_wwid yes in defaults"
        )
    if defaults.get("skip_kpartx", "no") in ("no", "off", "0"):
        detail = "skip_kpartx is off: partitions inside a raw block volume are mapped and hold it open"
        yield Clause(detail, "set skip_kpartx yes in defaults; see docs/how-to/harden-a-host.md#multipath")
    if defaults.get("user_friendly_names", "no") in ("yes", "on", "1"):
        detail = "user_friendly_names is on: names such as mpatha can mean another volume after a reboot"
        yield Clause(
            detail, "set user_friendly_names no, unless something else on this host needs such names", hurts=False
        )


def _failing(config: Section, defaults: Section, overrides: Section) -> Iterator[Clause]:
    """What happens when no path is left."""
    waiting = []
    for where, section in _by_device(config):
        values = {key: overrides.get(key) or section.get(key) or defaults.get(key) for key in _WHEN_LOST}
        if queues_for_ever(values):
            waiting.append(where)
        lost, fast = values["dev_loss_tmo"], values["fast_io_fail_tmo"]
        if lost.isdecimal() and fast.isdecimal() and int(lost) < int(fast):
            yield Clause(f"{where}: dev_loss_tmo {lost} is below fast_io_fail_tmo {fast}", "set dev_loss_tmo above it")
    if waiting:
        more = f" and {len(waiting) - _SHOWN} more" if len(waiting) > _SHOWN else ""
        detail = f"I/O waits for ever when no path is left, and so do pods: {', '.join(waiting[:_SHOWN])}{more}"
        yield Clause(detail, "set no_path_retry to a number, such as 12, in overrides or for the array", hurts=False)


_SHOWN = 4
_WHEN_LOST = ("no_path_retry", "features", "dev_loss_tmo", "fast_io_fail_tmo")


def queues_for_ever(values: Mapping[str, str]) -> bool:
    """no_path_retry wins over the feature queue_if_no_path (multipath.conf(5))."""
    retry = values.get("no_path_retry", "")
    return retry == "queue" or (not retry and "queue_if_no_path" in values.get("features", ""))


def _by_device(config: Section) -> Iterator[tuple[str, Section]]:
    yield "defaults", Section()
    for name, device in config.named("devices").sections:
        if name == "device" and any(device.get(key) for key in _WHEN_LOST):
            yield f"device {device.get('vendor', '.*')}/{device.get('product', '.*')}", device


def _blacklist(config: Section) -> Iterator[Clause]:
    blacklist, exceptions = config.named("blacklist"), config.named("blacklist_exceptions")
    kinds = [
        kind
        for kind, value in blacklist.values
        if value in _EVERYTHING and kind in ("devnode", "wwid", "property", "protocol")
    ]
    if not kinds:
        return
    detail = f"the blacklist excludes every {' and '.join(sorted(set(kinds)))}"
    if exceptions.values or exceptions.sections:
        yield Clause(
            f"{detail}; only blacklist_exceptions are used",
            "make sure that they match the array's volumes",
            hurts=False,
        )
    else:
        yield Clause(f"{detail}: no volume gets a map", "remove it from blacklist, or add blacklist_exceptions")


def _paths(host: Host) -> Iterator[Finding]:
    """Paths that failed, and maps without a path."""
    text, why = try_says(host, ("multipathd", "show", "paths", "raw", "format", "%d|%m|%t|%o|%T"))
    if why:
        yield unknown("multipath paths", why)
        return
    paths = [line.strip().split("|") for line in text.splitlines() if line.count("|") == 4]
    mapped = [path for path in paths if path[1].strip("[] ") not in ("", "orphan")]
    faulty = [path for path in mapped if is_faulty(*path[2:])]
    for device, map_, *state in faulty:
        yield note(
            "multipath paths",
            f"{device} of {map_} is {' '.join(state)}",
            "check the link to the array; a path of a deleted volume: remove it",
        )
    if not faulty:
        yield ok("multipath paths", f"{len(mapped)} in use, none failed")
    yield from _maps(host)


def is_faulty(dm_state: str, device_state: str, checker: str) -> bool:
    """By what multipathd says of a path: the kernel's state, the device's, and its checker's."""
    return (
        dm_state == "failed"
        or device_state in ("offline", "blocked", "transport-offline")
        or checker in ("faulty", "down", "shaky", "timeout")
    )


def _maps(host: Host) -> Iterator[Finding]:
    text, _ = try_says(host, ("multipathd", "show", "maps", "raw", "format", "%n|%w|%N|%Q"))
    for line in text.splitlines():
        name, wwid, paths, queueing = (*line.strip().split("|"), "", "", "")[:4]
        if paths == "0":
            waits = "; I/O to it waits for ever" if queueing == "on" else ""
            yield note(
                "multipath maps",
                f"{name} ({wwid}) has no path left{waits}",
                f"if the volume is gone: multipathd disablequeueing map {name}, then multipath -f {name}",
            )

"""multipathd: its effective settings and its paths."""

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
    """A section of multipath.conf: keywords with their values, and nested sections, in order."""

    values: tuple[tuple[str, str], ...] = ()
    sections: tuple[tuple[str, Section], ...] = ()

    def get(self, key: str, default: str = "") -> str:
        """The last value of a keyword, which takes precedence."""
        return next((value for name, value in reversed(self.values) if name == key), default)

    def named(self, name: str) -> Section:
        """All sections of that name, merged."""
        found = [section for known, section in self.sections if known == name]
        return Section(
            tuple(value for section in found for value in section.values),
            tuple(inner for section in found for inner in section.sections),
        )


@dataclass(frozen=True, slots=True)
class Clause:
    """A remark about the settings.

    Attributes:
        hurts: the setting puts volumes at risk; otherwise it is only worth knowing.
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
        yield problem("multipathd", why, "run on the host: systemctl enable --now multipathd", required=required)
    yield from _settings(host, is_running=bool(answer), required=required)
    if answer:
        yield from _paths(host)


def _ask(host: Host) -> tuple[str, str]:
    """The daemon's status, or "" and the reason. A daemon that is not running is not queried, because a query could start it."""
    if not host.is_hidden and "multipathd" not in host.processes():
        return "", "is not running"
    answer, why = try_says(host, ("multipathd", "show", "daemon"))
    return answer.strip(), f"does not respond ({why or 'empty response'})"


def _settings(host: Host, *, is_running: bool, required: bool) -> Iterator[Finding]:
    text, source = _effective(host, is_running=is_running)
    if not text:
        yield unknown("multipath settings", source, "start multipathd and run this command again")
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
        yield ok("multipath settings", f"no setting puts volumes at risk ({source})")


def _effective(host: Host, *, is_running: bool) -> tuple[str, str]:
    """The settings in the format of multipath.conf and their source, or "" and the reason."""
    if is_running:
        for question in (("show", "config", "local"), ("show", "config")):  # before 0.7.9 only the latter
            text, why = try_says(host, ("multipathd", *question))
            if text.strip().startswith("defaults"):
                return text, "reported by multipathd"
        return "", f"multipathd does not report its settings: {why or text.strip()[:200]}"
    text, why = try_says(host, ("multipath", "-t"))
    if text.strip().startswith("defaults"):
        return text, "from multipath -t; multipathd is not running"
    if host.is_hidden:
        return "", f"cannot be checked: {HIDDEN}"
    if file := host.host_text("etc/multipath.conf"):
        return file, "from /etc/multipath.conf, without the defaults; multipathd is not running"
    return "", f"not available: multipathd is not running, and /etc/multipath.conf does not exist ({why})"


def parse(text: str) -> Section:
    """Parse multipath.conf or the output of `show config`: one keyword per line; # and ! start comments outside quotes."""
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
    """Settings that put volumes at risk or are worth knowing."""
    defaults, overrides = config.named("defaults"), config.named("overrides")
    return (*_identity(defaults), *_failing(config, defaults, overrides), *_blacklist(config))


def _identity(defaults: Section) -> Iterator[Clause]:
    """Settings with which multipathd mistakes a device for another, or claims devices that it should not."""
    finds = defaults.get("find_multipaths", "strict")
    if finds in ("no", "off", "greedy"):
        yield Clause(
            f"find_multipaths {finds} lets multipathd claim disks with a single path",
            "set find_multipaths yes or strict",
        )
    if defaults.get("recheck_wwid", "no") in ("no", "off", "0"):
        yield Clause(
            "recheck_wwid is off: a reused LUN can be mistaken for the old volume", "set recheck_wwid yes in defaults"
        )
    if defaults.get("skip_kpartx", "no") in ("no", "off", "0"):
        detail = "skip_kpartx is off: partitions inside a raw block volume are mapped and hold it open"
        yield Clause(detail, "set skip_kpartx yes in defaults; see docs/how-to/harden-a-host.md#multipath")
    if defaults.get("user_friendly_names", "no") in ("yes", "on", "1"):
        detail = "user_friendly_names is on: names such as mpatha can refer to a different volume after a reboot"
        yield Clause(detail, "set user_friendly_names no, unless other software on this host needs them", hurts=False)


def _failing(config: Section, defaults: Section, overrides: Section) -> Iterator[Clause]:
    """Behaviour when no path is left."""
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
        detail = f"I/O and pods hang when no path is left: {', '.join(waiting[:_SHOWN])}{more}"
        yield Clause(detail, "set no_path_retry to a number, such as 12, in overrides or for the array", hurts=False)


_SHOWN = 4
_WHEN_LOST = ("no_path_retry", "features", "dev_loss_tmo", "fast_io_fail_tmo")


def queues_for_ever(values: Mapping[str, str]) -> bool:
    """no_path_retry overrides the feature queue_if_no_path (multipath.conf(5))."""
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
    detail = f"the blacklist excludes all devices by {' and '.join(sorted(set(kinds)))}"
    if exceptions.values or exceptions.sections:
        yield Clause(
            f"{detail}; only devices in blacklist_exceptions are used",
            "make sure that blacklist_exceptions match the array's volumes",
            hurts=False,
        )
    else:
        yield Clause(
            f"{detail}: no volume gets a multipath map", "remove it from blacklist, or add blacklist_exceptions"
        )


def _paths(host: Host) -> Iterator[Finding]:
    """Failed paths, and maps without a path."""
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
            "check the link to the array; if the volume was deleted, remove the path",
        )
    if not faulty:
        yield ok("multipath paths", f"{len(mapped)} in use, 0 failed")
    yield from _maps(host)


def is_faulty(dm_state: str, device_state: str, checker: str) -> bool:
    """Whether a path failed, by the states that multipathd reports: of device-mapper, of the device and of the checker."""
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
            waits = "; I/O to it hangs" if queueing == "on" else ""
            yield note(
                "multipath maps",
                f"{name} ({wwid}) has no path left{waits}",
                f"if the volume was deleted, run: multipathd disablequeueing map {name}, then multipath -f {name}",
            )

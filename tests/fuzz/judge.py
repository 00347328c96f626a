"""What counts as a finding, and how much of the machine the processes use."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc

GROWTH = 1.10
"""Of the memory that a process may have after the run, compared with after its first third."""
SLACK_KIB = 6 * 1024
SLACK = 8
"""Threads and descriptors: those of one more connection, and of what happens now and then."""
_VARYING = re.compile(r"[0-9a-f]{8}(-[0-9a-f-]{27})?|/\S+|'[^']*'|[0-9]+")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has at one moment; memory is resident and in KiB."""

    memory: int
    threads: int
    descriptors: int


def usage(pid: int) -> Usage:
    """Raises OSError: it has ended."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Usage(int(status["VmRSS"].split()[0]), int(status["Threads"]), len(list(Path(f"/proc/{pid}/fd").iterdir())))


def growth(name: str, samples: Sequence[Usage]) -> list[str]:
    """What grows although the work stays the same: the last third is compared with the middle one."""
    third = len(samples) // 3
    if not third:
        return []
    before, after = samples[third : 2 * third], samples[-third:]
    findings = []
    memory = [statistics.median(item.memory for item in part) for part in (before, after)]
    if memory[1] > memory[0] * GROWTH + SLACK_KIB:
        findings.append(f"memory of {name} grows: {memory[0]:.0f} to {memory[1]:.0f} KiB")
    for what in ("threads", "descriptors"):
        counts = [statistics.median(getattr(item, what) for item in part) for part in (before, after)]
        if counts[1] > counts[0] + SLACK:
            findings.append(f"{what} of {name} grow: {counts[0]:.0f} to {counts[1]:.0f}")
    return findings


class Judge:
    """Counts answers and keeps findings."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        """Calls that succeeded, by method."""
        self.internal: Counter[str] = Counter()
        """Messages with the code INTERNAL, without what differs from call to call."""
        self.findings: Counter[str] = Counter()

    def answer(self, number: int, method: str, code: grpc.StatusCode, details: str, *, is_hurried: bool) -> None:
        """Take note of one answer.

        Args:
            is_hurried: the caller gave it no time, or gave up.
        """
        self.codes[code.name] += 1
        if code is grpc.StatusCode.OK:
            self.done[method] += 1
        if problem := _problem(code, details, is_hurried=is_hurried):
            self.find(f"{problem}: {method}: {_VARYING.sub('*', details)}", f"request {number}: {details[:300]!r}")
        if code is grpc.StatusCode.INTERNAL:
            self.internal[f"{method}: {_VARYING.sub('*', details)[:160]}"] += 1

    def find(self, kind: str, example: str = "") -> None:
        """Keep a finding; of those of one kind, the first one's example."""
        known = next((finding for finding in self.findings if finding.startswith(kind)), "")
        self.findings[known or (f"{kind} ({example})" if example else kind)] += 1

    def read_log(self, path: Path) -> None:
        """Look for traces, and empty the file."""
        with path.open("rb+") as file:
            for line in file.read().splitlines():
                if problem := _trace(line):
                    self.find("a trace in the log", problem)
            file.truncate(0)


def _problem(code: grpc.StatusCode, details: str, *, is_hurried: bool) -> str:
    match code:
        case grpc.StatusCode.UNKNOWN | grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DATA_LOSS:
            return code.name
        case grpc.StatusCode.DEADLINE_EXCEEDED | grpc.StatusCode.CANCELLED if not is_hurried:
            return code.name
        case grpc.StatusCode.INTERNAL if "in the log" in details or "Exception" in details:
            return "an error that nobody foresaw"
    return ""


def _trace(line: bytes) -> str:
    text = line.decode(errors="replace")
    with suppress(ValueError):
        entry = json.loads(text)
        return str(entry["exception"])[-600:] if isinstance(entry, dict) and "exception" in entry else ""
    return text[:600] if "Traceback" in text or "Error" in text else ""

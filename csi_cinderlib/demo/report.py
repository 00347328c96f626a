"""Reports the steps of the demo on a terminal, as plain lines, or as JSON lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from csi_cinderlib.observe import progress, standard_output


@dataclass(slots=True)
class Step:
    """One step. `note` is its result, set while it runs."""

    section: str
    title: str
    note: str = ""
    seconds: float = 0.0
    ok: bool = True


class View(Protocol):
    """Shows the steps."""

    def section(self, title: str) -> None:
        """Begin a section."""

    def step(self, step: Step) -> None:
        """Show a step that has ended."""

    def end(self, steps: list[Step], message: str) -> None:
        """Show the summary with `message`."""


@dataclass(slots=True)
class Plain:
    stream: TextIO

    def section(self, title: str) -> None:
        print(f"\n{title}", file=self.stream, flush=True)

    def step(self, step: Step) -> None:
        note = f"  {step.note}" if step.note else ""
        mark = "ok    " if step.ok else "FAILED"
        print(f"  {mark} {step.seconds * 1000:8.1f} ms  {step.title:<44}{note}".rstrip(), file=self.stream, flush=True)

    def end(self, steps: list[Step], message: str) -> None:
        total = sum(step.seconds for step in steps)
        print(f"\n{len(steps)} steps in {total:.1f} s: {message}", file=self.stream, flush=True)


@dataclass(slots=True)
class Json:
    stream: TextIO

    def section(self, title: str) -> None:
        """Nothing to write: each step has its section."""

    def step(self, step: Step) -> None:
        self._line(section=step.section, step=step.title, note=step.note, seconds=round(step.seconds, 6), ok=step.ok)

    def end(self, steps: list[Step], message: str) -> None:
        ok = all(step.ok for step in steps)
        self._line(result=message, ok=ok, steps=len(steps), seconds=round(sum(step.seconds for step in steps), 6))

    def _line(self, **values: object) -> None:
        print(json.dumps(values, ensure_ascii=False), file=self.stream, flush=True)


class Rich:
    """Colours, on a terminal with the package `rich` (the extra `demo`)."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)

    def section(self, title: str) -> None:
        from rich.markup import escape

        self._console.rule(f"[bold]{escape(title)}", align="left", style="dim")

    def step(self, step: Step) -> None:
        from rich.markup import escape

        mark = "[green]✔[/]" if step.ok else "[red]✘[/]"
        note = f"  [dim]{escape(step.note)}[/]" if step.note else ""
        self._console.print(f" {mark} [cyan]{step.seconds * 1000:8.1f} ms[/]  {escape(step.title):<44}{note}")

    def end(self, steps: list[Step], message: str) -> None:
        good = all(step.ok for step in steps)
        total = sum(step.seconds for step in steps)
        self._console.rule(style="dim")
        self._console.print(f"[bold {'green' if good else 'red'}]{len(steps)} steps in {total:.1f} s: {message}[/]")


def view(*, as_json: bool, stream: TextIO = sys.stdout) -> View:
    """The view: JSON on request, colours on a terminal with `rich`, otherwise plain lines."""
    if as_json:
        return Json(stream)
    if not stream.isatty():
        return Plain(stream)
    try:
        return Rich()
    except ImportError:
        return Plain(stream)


def words(error: BaseException) -> str:
    """The code and message of a failed call: gRPC's own text has ten lines."""
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    return f"{code().name}: {details()}" if callable(code) and callable(details) else str(error)


@dataclass(slots=True)
class Report:
    """Times the steps and shows them in the view."""

    view: View
    steps: list[Step] = field(default_factory=list)
    _section: str = ""

    def section(self, title: str) -> None:
        self._section = title
        with standard_output.named():
            self.view.section(title)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Time a step. An exception marks it as failed and is raised again."""
        step = Step(self._section, title)
        started = time.perf_counter()
        try:
            with progress.shown(title):
                yield step
        except BaseException as error:
            step.ok = False
            step.note = "stopped" if isinstance(error, KeyboardInterrupt | SystemExit) else words(error)
            raise
        finally:
            step.seconds = time.perf_counter() - started
            self.steps.append(step)
            with standard_output.named():
                self.view.step(step)

    def end(self, message: str) -> None:
        with standard_output.named():
            self.view.end(self.steps, message)

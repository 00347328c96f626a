"""`make mutants`: mutation testing of the code that protects data.

    python -m tests.mutation [--minutes N] [--jobs N] [--report] [MODULE...]

MODULE is a name such as `provisioning.orphans`; the default is all modules.

mutmut does the work (`[tool.mutmut]` in pyproject.toml) and keeps its results in mutants/, so that an interrupted run continues
where it stopped. Each run tests the survivors again, except those listed as equivalent.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from mutmut import __main__ as mutmut
from mutmut.configuration import config
from mutmut.mutation.data import MutantLineSpans, SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.type_checking import run_type_checker
from mutmut.utils import file_utils
from mutmut.utils.file_utils import change_cwd
from mutmut.utils.format_utils import get_mutant_name, orig_function_and_class_names_from_key

from tests.mutation import ledger, operators, runner
from tests.mutation.ledger import Identity

CAUGHT_BY_TYPE_CHECK = 37
"""As mutmut has it."""
NOTICED = {"killed", "timeout", "caught by type check"}


class Survivor:
    """A mutant that no test noticed.

    Attributes:
        how: "survived", or "no tests" when no test executes its function.
    """

    def __init__(self, path: Path, name: str, how: str) -> None:
        function, cls = orig_function_and_class_names_from_key(name)
        self.name = name
        self.how = how
        self.diff = get_diff_for_mutant(name, path=path)
        self.identity = Identity(_module(path), f"{cls}.{function}" if cls else function, ledger.change_of(self.diff))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=int, default=0, help="stop after N minutes; the next run continues")
    parser.add_argument("--report", action="store_true", help="only report what earlier runs found")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    given = parser.parse_args(arguments)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the type checker's
    listed = ledger.read()
    operators.install()
    runner.install()
    if not given.report and (names := _prepare(given.modules, {entry.identity for entry in listed}, given.jobs)):
        _interrupt_after(given.minutes)
        with contextlib.suppress(KeyboardInterrupt):  # mutmut itself only catches it while it tests mutants
            mutmut._run(names, given.jobs)
        signal.alarm(0)
    return _report(given.modules, listed)


def _prepare(modules: Sequence[str], equivalent: set[Identity], jobs: int) -> list[str]:
    """Generate the mutants and return the names of those to test."""
    shutil.rmtree("mutants/tests", ignore_errors=True)
    Path("mutants").mkdir(exist_ok=True)
    print("Generating mutants", flush=True)
    with mutmut.CatchOutput():
        file_utils.copy_src_dir()
        file_utils.copy_also_copy_files()
        mutmut.create_mutants(jobs)
    _refuse_by_type(modules)
    names = []
    for data in _mutated(modules):
        for name, code in data.exit_code_by_key.items():
            if code is not None and status_by_exit_code[code] in NOTICED:
                continue
            if code is None or Survivor(Path(data.path), name, "").identity not in equivalent:
                names.append(name)
    return names


def _refuse_by_type(modules: Sequence[str]) -> None:
    """Mark new mutants that mypy rejects, since `make lint` notices them. mutmut would run mypy again each time."""
    new = [data for data in _mutated(modules) if None in data.exit_code_by_key.values()]
    vars(mutmut)["filter_mutants_with_type_checker"] = dict
    if not new:
        return
    print("Checking their types", flush=True)
    with change_cwd("mutants"):
        errors = run_type_checker(config().type_check_command)
    for data in new:
        path = Path(data.path)
        lines = {error.line_number for error in errors if error.file_path == Path("mutants", path).absolute()}
        spans = MutantLineSpans.load(path)
        assert spans is not None
        for function, span in spans.span_by_function_name.items():
            name = get_mutant_name(path, function)
            if lines & set(range(span.start, span.end + 1)) and data.exit_code_by_key.get(name, 0) is None:
                data.exit_code_by_key[name] = CAUGHT_BY_TYPE_CHECK
        data.save()


def _interrupt_after(minutes: int) -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(minutes * 60)


def _mutated(modules: Sequence[str]) -> Iterator[SourceFileMutationData]:
    paths = sorted(path for path in file_utils.walk_mutatable_files() if not modules or _module(path) in modules)
    if unknown := set(modules) - {_module(path) for path in paths}:
        raise SystemExit(f"not in [tool.mutmut] only_mutate: {', '.join(sorted(unknown))}")
    for path in paths:
        data = SourceFileMutationData(path=path)
        data.load()
        yield data


def _module(path: Path) -> str:
    return ".".join(path.relative_to(config().source_paths[0]).with_suffix("").parts)


def _report(modules: Sequence[str], listed: Sequence[ledger.Equivalent]) -> int:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    survivors: list[Survivor] = []
    for data in _mutated(modules):
        for name, code in data.exit_code_by_key.items():
            status = status_by_exit_code[code]
            counts[_module(Path(data.path))][status] += 1
            if status != "not checked" and status not in NOTICED:
                survivors.append(Survivor(Path(data.path), name, status))
    equivalent = {entry.identity for entry in listed}
    unlisted = [survivor for survivor in survivors if survivor.identity not in equivalent]
    complete = [module for module, count in counts.items() if not count["not checked"]]
    stale = ledger.stale(listed, (survivor.identity for survivor in survivors), complete)
    for survivor in unlisted:
        print(f"\n{survivor.name}: {survivor.how}\n{survivor.diff}")
    for entry in stale:
        print(f"\nlisted as equivalent, but not a survivor: {entry.identity}")
    _table(counts, Counter(survivor.identity.module for survivor in survivors if survivor.identity in equivalent))
    untested = sum(count["not checked"] for count in counts.values())
    print(
        f"\n{len(unlisted)} survived, {len(stale)} entries of {ledger.FILE.name} are stale, {untested} are not tested yet"
    )
    return 1 if unlisted or stale or untested else 0


def _table(counts: dict[str, Counter[str]], equivalent: Counter[str]) -> None:
    columns = ["mutants", "refused by mypy", "killed", "equivalent", "survived", "not tested"]
    print(f"\n{'module':32}" + "".join(f"{column:>16}" for column in columns))
    rows = [(module, *_figures(count, equivalent[module])) for module, count in sorted(counts.items())]
    for name, *figures in [*rows, ("all", *map(sum, zip(*(row[1:] for row in rows), strict=True)))]:
        print(f"{name:32}" + "".join(f"{figure:>16}" for figure in figures))


def _figures(count: Counter[str], equivalent: int) -> tuple[int, ...]:
    typed, killed, untested = count["caught by type check"], count["killed"] + count["timeout"], count["not checked"]
    survived = count.total() - typed - killed - untested - equivalent
    return count.total(), typed, killed, equivalent, survived, untested


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The operators that mutmut does not have, and the list of equivalent mutants."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation import ledger, runner
from tests.mutation.ledger import Equivalent, Identity

REPOSITORY = Path(__file__).parents[2]

MUTANTS = """
import sys
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.mutation.diff_apply import get_diff_for_mutant
from tests.mutation import operators
operators.install()
made = mutate_file_contents("sample.py", sys.stdin.read())
compile(made.code, "sample.py", "exec")
for name in made.mutant_names:
    print(get_diff_for_mutant(f"sample.{name}", source=made.code, path="sample.py"))
"""


def mutants(code: str) -> set[tuple[str, ...]]:
    """The changes of all mutants, in a process of its own since the operators are installed in mutmut."""
    done = subprocess.run([sys.executable, "-c", MUTANTS], input=code, capture_output=True, text=True, check=True)
    return {ledger.change_of(diff) for diff in done.stdout.split("--- sample.py\n")[1:]} or {()}


def test_statements_and_conditions_are_mutated() -> None:
    changes = mutants("def f(x):\n    if x:\n        clean(x)\n        raise\n")
    assert changes >= {
        ("-if x:", "+if (x) and False:"),
        ("-if x:", "+if (x) or True:"),
        ("-clean(x)", "+pass"),
        ("-raise", "+pass"),
    }


def test_locks_handlers_and_members_are_dropped_one_by_one() -> None:
    changes = mutants(
        "def f(x):\n    with lock(), other():\n        try:\n            return x in (1, y, z)\n"
        "        except (OSError, ValueError):\n            return 0\n        except KeyError:\n            return 1\n"
    )
    assert changes >= {
        ("-with lock(), other():", "+with other():"),
        ("-with lock(), other():", "+with lock():"),
        ("-return x in (1, y, z)", "+return x in (y, z)"),
        ("-return x in (1, y, z)", "+return x in (1, z)"),
        ("-except (OSError, ValueError):", "+except (ValueError,):"),
        ("-except (OSError, ValueError):", "+except (OSError,):"),
        ("-except KeyError:", "+except ():"),
    }
    assert ("-with lock():", "+if True:") in mutants("def f():\n    with lock():\n        go()\n")


def test_functions_behind_property_and_contextmanager_are_mutated() -> None:
    code = "from contextlib import contextmanager\n\nclass C:\n    @property\n    def p(self):\n        return 1\n"
    code += "\n@contextmanager\ndef g():\n    yield 2\n"
    assert mutants(code) == {("-return 1", "+return 2"), ("-yield 2", "+yield 3")}


def test_words_are_left_alone() -> None:
    code = "def f(x):\n    _log.info('at', x)\n    reach('here')\n    why = 'it is' if x else f'not {x} but'\n"
    assert mutants(code + "    note(x, f'of {x} and')\n    raise ValueError('bad', 7)\n") == {
        ("-note(x, f'of {x} and')", "+pass"),
        ("-note(x, f'of {x} and')", "+note(None, f'of {x} and')"),
        ("-note(x, f'of {x} and')", "+note(f'of {x} and')"),
        ("-raise ValueError('bad', 7)", "+pass"),
    }


ENTRY = '[[equivalent]]\nmodule = "a.b"\nfunction = "C.f"\nchange = """\n-    x\n+    y\n"""\nreason = "{reason}"\n'
LISTED = Identity("a.b", "C.f", ("-x", "+y"))


def test_an_entry_is_known_by_what_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "equivalents.toml"
    file.write_text(ENTRY.format(reason="both are true"))
    assert ledger.read(file) == (Equivalent(LISTED, "both are true"),)
    assert ledger.change_of("--- a/b.py\n+++ a/b.py\n@@ -1 +1 @@\n def f():\n-        x\n+        y\n") == ("-x", "+y")


@pytest.mark.parametrize(("text", "why"), [(ENTRY.format(reason=" "), "no reason"), (2 * ENTRY, "listed twice")])
def test_an_entry_without_a_reason_and_one_that_is_there_twice_are_refused(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "equivalents.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=why):
        ledger.read(file)


def test_an_entry_that_is_no_survivor_is_stale_once_its_module_was_tested() -> None:
    entry = Equivalent(LISTED, "both are true")
    assert ledger.stale([entry], [], ["a.b"]) == (entry,)
    assert ledger.stale([entry], [LISTED], ["a.b"]) == ()
    assert ledger.stale([entry], [], ["a.c"]) == ()


def test_every_entry_of_the_list_is_about_code_that_is_there() -> None:
    for entry in ledger.read():
        identity = entry.identity
        lines = {line.strip() for line in source_of(identity.module, identity.function).splitlines()}
        removed = {line[1:] for line in identity.change if line.startswith("-")}
        assert removed <= lines, f"no longer there: {identity}"


def source_of(module: str, function: str) -> str:
    """The text of a function or `Class.method`, or "" where there is none."""
    text = (REPOSITORY / "csi_cinderlib" / f"{module.replace('.', '/')}.py").read_text()
    node: ast.AST | None = ast.parse(text)
    for name in function.split("."):
        node = next((it for it in getattr(node, "body", ()) if getattr(it, "name", "") == name), None)
    return (node and ast.get_source_segment(text, node)) or ""


def test_a_module_is_tested_by_its_own_tests_or_by_those_of_its_package() -> None:
    paths = {"node": ["tests/node/"], "node.staging": ["tests/node/test_a.py"]}
    tests = ["tests/node/test_a.py::t", "tests/node/test_b.py::t", "tests/host/test_c.py::t"]
    assert runner.concerned("node.mounted", tests, paths) == set(tests[:2])
    assert runner.concerned("node.staging", tests, paths) == set(tests[:1])


def test_tests_of_changed_files_are_looked_at_again(tmp_path: Path) -> None:
    (tmp_path / "tests" / "a").mkdir(parents=True)
    kept, changed = (tmp_path / "tests" / "a" / f"test_{name}.py" for name in ("kept", "changed"))
    for file in (kept, changed):
        file.write_text("1")
    ids = ["tests/a/test_kept.py::t", "tests/a/test_changed.py::t", "tests/a/test_gone.py::t"]
    stats = tmp_path / "mutmut-stats.json"
    stats.write_text(
        json.dumps({"duration_by_test": dict.fromkeys(ids, 1), "tests_by_mangled_function_name": {"f": ids}, "more": 2})
    )
    seen = runner.forget_changed_tests(tmp_path)
    assert json.loads(stats.read_text())["duration_by_test"] == {}
    stats.write_text(
        json.dumps({"duration_by_test": dict.fromkeys(ids, 1), "tests_by_mangled_function_name": {"f": ids}, "more": 2})
    )
    (tmp_path / "tests-seen.json").write_text(json.dumps(seen))
    changed.write_text("2")
    assert runner.forget_changed_tests(tmp_path).keys() == seen.keys()
    assert json.loads(stats.read_text()) == {
        "duration_by_test": {ids[0]: 1},
        "tests_by_mangled_function_name": {"f": [ids[0]]},
        "more": 2,
    }

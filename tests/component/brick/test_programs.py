"""Every program that os-brick starts for a protocol is in the node's image, is the host's there, or is answered by us."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import os_brick

from csi_cinderlib.brick import tools

DOCKERFILE = (Path(__file__).resolve().parents[3] / "Dockerfile").read_text()
NODE = DOCKERFILE.partition("FROM mkfs AS node\n")[2].replace("\\\n", " ")
LINKS = set(re.findall(r"for tool in (.*?); do", NODE)[0].split())
PACKAGES = set(re.findall(r"--no-install-recommends\s+(.*?)\s+(?:#|&&)", NODE)[0].split())

BASE = {"cat", "chown", "cp", "dd", "grep", "ln", "mkdir", "tee", "which"}
"""Of Debian's packages that are in every image: coreutils, grep, debianutils."""
ANSWERED = {"/lib/udev/scsi_id": "by brick.execute"}
NOT_CALLED = {
    "dmidecode": "for connector properties, which brick.properties reads itself",
    "findmnt": "for connector properties",
}
OF_VENDORS = {
    "pstorage": "Virtuozzo's client is a service of the host",
    "pstorage-mount": "the same",
    "self.cli_path": "Huawei's program is at a path of its own",
}
HANDED_ON = {
    "<cmd of custom_execute>": "runs what it is given",
    "<cmd of execute>": "the same",
    "<cmd of execute_root>": "the same",
    "<cmd of run_mdadm>": "its callers' first word is mdadm",
}
CALLS = {"_execute", "execute", "custom_execute", "execute_root"}
ELSEWHERE = {"tests", "windows", "local_dev", "caches"}
"""Parts of os-brick that no connector of ours loads."""


def at_hand(program: str) -> bool:
    """Whether it can be run in the node's image."""
    return program in LINKS or program in BASE or tools.PACKAGES.get(program) in PACKAGES


def test_every_program_of_os_brick_is_at_hand_in_the_nodes_image() -> None:
    excused = {**ANSWERED, **NOT_CALLED, **OF_VENDORS, **HANDED_ON}
    found = dict(programs())
    assert len(found) > 25
    assert {program: where for program, where in found.items() if program not in excused and not at_hand(program)} == {}
    assert set(excused) - set(found) == set()


def test_every_program_that_a_protocol_is_said_to_need_is_at_hand() -> None:
    wanted = {program for protocol in tools.PROTOCOLS for program in tools.needed(protocol, multipath=True)}
    assert {program for program in wanted if not at_hand(program)} == set()


def test_the_image_reaches_for_nothing_else_on_the_host() -> None:
    assert LINKS - {program for program, _ in programs()} == set()


def programs() -> Iterator[tuple[str, str]]:
    """Each program that os-brick's sources start, and where."""
    root = Path(os_brick.__file__).parent
    for path in sorted(root.rglob("*.py")):
        if ELSEWHERE.isdisjoint(path.relative_to(root).parts):
            for function in ast.walk(ast.parse(path.read_text())):
                if isinstance(function, ast.FunctionDef):
                    yield from ((name, f"{path.relative_to(root)}:{function.name}") for name in started_by(function))


def started_by(function: ast.FunctionDef) -> Iterator[str]:
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and call.args and ast.unparse(call.func).rpartition(".")[2] in CALLS:
            yield from first_words(call.args[0], function)


def first_words(node: ast.expr, function: ast.FunctionDef) -> Iterator[str]:
    """The program in an argument: text, the start of a sequence, or what a variable of the function was set to."""
    match node:
        case ast.Constant(value=str(text)) | ast.BinOp(left=ast.Constant(value=str(text))):
            yield text.split()[0]
        case ast.Tuple(elts=[first, *_]) | ast.List(elts=[first, *_]) | ast.Starred(value=first):
            yield from first_words(first, function)
        case ast.Name(id=name):
            values = [
                each.value for each in ast.walk(function) if isinstance(each, ast.Assign) and name in targets(each)
            ]
            for value in values:
                yield from first_words(value, function)
            if not values:
                yield f"<{name} of {function.name}>"
        case _:
            yield ast.unparse(node)


def targets(each: ast.Assign) -> list[str]:
    return [ast.unparse(target) for target in each.targets]

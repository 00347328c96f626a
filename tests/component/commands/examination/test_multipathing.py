"""What `doctor` says of multipathd: its own settings, not those of a file, and its paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.commands.examination import multipathing
from csi_cinderlib.commands.examination.findings import Finding, Level
from csi_cinderlib.commands.examination.multipathing import is_faulty, judge, parse, queues_for_ever
from tests.support.hosts import host, programs

GOOD = """
defaults {
    find_multipaths "strict"   # only what has two paths
    recheck_wwid "yes"
    skip_kpartx yes
    no_path_retry 12
}
blacklist {
    device {
        vendor "X"
    }
}
"""
BARE = GOOD.replace('recheck_wwid "yes"', "recheck_wwid no").replace("skip_kpartx yes", "skip_kpartx no")


def details(text: str) -> list[str]:
    return [clause.detail for clause in judge(parse(text))]


def test_good_settings_get_no_advice() -> None:
    assert details(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"strict"', "no", "find_multipaths no lets multipathd claim disks"),
        ('"strict"', '"off"', "find_multipaths off"),
        ('"strict"', "greedy", "find_multipaths greedy"),
        ('recheck_wwid "yes"', "", "recheck_wwid is off"),
        ("skip_kpartx yes", 'skip_kpartx "no"', "skip_kpartx is off"),
        ("skip_kpartx yes", "skip_kpartx yes\nuser_friendly_names yes", "user_friendly_names is on"),
        (
            "no_path_retry 12",
            "no_path_retry queue",
            "I/O and pods hang when no path is left: defaults",
        ),
        ("no_path_retry 12", 'features "1 queue_if_no_path"', "I/O and pods hang"),
        ("no_path_retry 12", "dev_loss_tmo 3\nfast_io_fail_tmo 5", "dev_loss_tmo 3 is below fast_io_fail_tmo 5"),
        (
            'vendor "X"\n    }',
            'vendor "X"\n    }\n devnode ".*"',
            "excludes all devices by devnode: no volume gets a multipath map",
        ),
    ],
)
def test_settings_that_harm_volumes_are_named(old: str, new: str, words: str) -> None:
    assert old in GOOD
    (said,) = details(GOOD.replace(old, new))
    assert words in said


def test_overrides_win_over_an_arrays_own_settings() -> None:
    device = 'devices {\n device {\n vendor "NETAPP"\n product "LUN"\n no_path_retry queue\n }\n}\n'
    assert "device NETAPP/LUN" in details(GOOD + device)[0]
    assert details(GOOD + device + "overrides {\n no_path_retry 5\n}\n") == []


def test_of_many_arrays_that_wait_for_ever_a_few_are_named() -> None:
    devices = "".join(f'device {{\n vendor "V{n}"\n no_path_retry "queue"\n }}\n' for n in range(9))
    (said,) = details(GOOD + f"devices {{\n{devices}}}\n")
    assert said.endswith("device V0/.*, device V1/.*, device V2/.*, device V3/.* and 5 more")


def test_a_blacklist_with_exceptions_is_only_for_consideration() -> None:
    text = GOOD.replace('vendor "X"\n    }', 'vendor "X"\n    }\n wwid "*"') + 'blacklist_exceptions {\n wwid "36"\n}\n'
    (clause,) = judge(parse(text))
    assert not clause.hurts


def test_sections_are_told_apart_and_the_last_of_two_values_counts() -> None:
    config = parse('a {\n x "1 2"\n b {\n x 3\n }\n x "say ""hi"""\n}\na {\n y 4 # x 9\n}\n! c {\n}\n')
    assert config.named("a").get("x") == 'say "hi"'
    assert config.named("a").named("b").get("x") == "3"
    assert config.named("a").get("y") == "4"
    assert config.named("c").values == ()


@pytest.mark.parametrize("text", ["", "}", "{", "a {", "a { b { c", '"', "a {\n}}}}\nb 1", "# only", "a"])
def test_nothing_that_a_file_can_hold_breaks_the_reader(text: str) -> None:
    judge(parse(text))


@pytest.mark.parametrize(
    ("values", "waits"),
    [
        ({"no_path_retry": "queue"}, True),
        ({"no_path_retry": "fail", "features": "1 queue_if_no_path"}, False),
        ({"no_path_retry": "", "features": "3 queue_if_no_path pg_init_retries 50"}, True),
        ({"no_path_retry": "", "features": "0"}, False),
        ({}, False),
    ],
)
def test_no_path_retry_wins_over_the_feature(values: dict[str, str], waits: bool) -> None:
    assert queues_for_ever(values) is waits


@pytest.mark.parametrize(
    ("state", "faulty"),
    [
        (("active", "running", "ready"), False),
        (("active", "running", "ghost"), False),
        (("failed", "running", "ready"), True),
        (("active", "offline", "ready"), True),
        (("active", "running", "faulty"), True),
        (("undef", "unknown", "undef"), False),
    ],
)
def test_a_path_is_faulty_when_the_kernel_or_the_checker_says_so(state: tuple[str, str, str], faulty: bool) -> None:
    assert is_faulty(*state) is faulty


DAEMON = """case "$*" in
"show daemon") echo pid 4711 idle;;
"show config local") cat {config};;
"show paths"*) printf 'sda|mpath1|active|running|ready\\nsdb|mpath1|failed|running|faulty\\nsdc||undef|running|undef\\n';;
"show maps"*) printf 'mpath1|36001|2|off\\nmpath2|36002|0|on\\n';;
*) exit 1;;
esac"""


def said(tmp_path: Path, *, required: bool = True, runs: bool = True) -> list[Finding]:
    processes = {"proc/77/comm": "multipathd\n"} if runs else {}
    return list(multipathing.examine(host(tmp_path, processes), required=required))


def test_a_daemon_that_does_not_run_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket would have systemd start it."""
    programs(monkeypatch, tmp_path / "bin", multipath="exit 1", multipathd=f"touch {tmp_path}/asked")
    found = {finding.what: finding for finding in said(tmp_path, runs=False)}
    assert (found["multipathd"].level, found["multipathd"].detail) == (Level.BAD, "is not running")
    assert found["multipath settings"].level is Level.UNKNOWN
    assert not (tmp_path / "asked").exists()


def test_settings_are_those_of_the_running_daemon_whatever_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/multipath.conf").write_text(GOOD)
    (tmp_path / "effective").write_text(BARE.lstrip())
    programs(monkeypatch, tmp_path / "bin", multipath="", multipathd=DAEMON.format(config=tmp_path / "effective"))
    settings = [finding for finding in said(tmp_path) if finding.what == "multipath settings"]
    assert [finding.level for finding in settings] == [Level.BAD, Level.BAD]
    assert all(finding.detail.endswith("(reported by multipathd)") for finding in settings)


def test_failed_paths_and_maps_without_a_path_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "effective").write_text(GOOD.lstrip())
    programs(monkeypatch, tmp_path / "bin", multipath="", multipathd=DAEMON.format(config=tmp_path / "effective"))
    found = said(tmp_path)
    assert [item.detail for item in found if item.what == "multipath paths"] == [
        "sdb of mpath1 is failed running faulty"
    ]
    assert [item.detail for item in found if item.what == "multipath maps"] == [
        "mpath2 (36002) has no path left; I/O to it hangs"
    ]
    assert [item.level for item in found if item.what == "multipath settings"] == [Level.OK]


def test_without_the_daemon_the_source_of_the_settings_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "effective").write_text(BARE.lstrip())
    programs(monkeypatch, tmp_path / "bin", multipath=f"cat {tmp_path}/effective", multipathd="exit 1")
    found = {finding.what: finding for finding in said(tmp_path)}
    assert found["multipathd"].level is Level.BAD
    assert "multipathd is not running" in found["multipath settings"].detail
    assert {finding.level for finding in said(tmp_path, required=False)} <= {Level.NOTE, Level.OK}


def test_settings_are_unknown_if_the_daemon_does_not_report_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(
        monkeypatch, tmp_path / "bin", multipath="", multipathd='[ "$*" = "show daemon" ] && echo up || echo timeout'
    )
    found = {finding.what: finding for finding in said(tmp_path)}
    assert found["multipath settings"].level is Level.UNKNOWN

"""What the generator of former names reads in a history of Cinder, made here in small."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from csi_cinderlib.backend.catalogue import Catalogue, Driver, Option
from scripts.former_names.history import Clone, Release
from scripts.former_names.table import Table

OLD = """
from oslo.config import cfg

PORT = 'array_port'
array_opts = [
    cfg.StrOpt('array-host', default='', help='Its address.'),
    cfg.IntOpt(PORT, default=0644),
    cfg.StrOpt('array_mode', choices=['fast', 'slow']),
    cfg.StrOpt('array_gone'),
]


class ArrayDriver(object):
    def fail(self):
        try:
            pass
        except Exception, error:
            raise ValueError, error
"""
NEW = """
from oslo_config import cfg

array_opts = [
    cfg.StrOpt('box_host', deprecated_opts=[cfg.DeprecatedOpt(name='array_host')]),
    cfg.PortOpt('box_port', deprecated_name='array_port'),
    cfg.StrOpt('array_mode', choices=[('fast', 'Is fast.')]),
]


@interface.volumedriver
class BoxDriver(object):
    pass
"""
MAPPING = "MAPPING = {'cinder.volume.drivers.array': 'cinder.volume.drivers.box'}\n"


@pytest.fixture
def releases(tmp_path: Path) -> list[Release]:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    drivers = tmp_path / "cinder" / "volume" / "drivers"
    drivers.mkdir(parents=True)
    git("init", "--quiet")
    (drivers / "array.py").write_text(OLD)
    git("add", "--all")
    git("commit", "--quiet", "--message=old")
    git("tag", "old")
    (drivers / "array.py").unlink()
    (drivers / "box.py").write_text(NEW)
    (drivers.parent / "manager.py").write_text(MAPPING)
    git("add", "--all")
    git("commit", "--quiet", "--message=new")
    git("tag", "new")
    clone = Clone(tmp_path)
    return [clone.release("old"), clone.release("new")]


def test_options_are_read_also_where_python_3_cannot_parse_and_a_constant_names_them(releases: list[Release]) -> None:
    old, new = ({option.name: option for _, option in release.options} for release in releases)
    assert old.keys() == {"array_host", "array_port", "array_mode", "array_gone"}
    assert new.keys() == {"box_host", "box_port", "array_mode"}
    assert new["box_host"].old == ("array_host",)
    assert new["box_port"].old == ("array_port",)
    assert old["array_mode"].choices == {"fast", "slow"}
    assert new["array_mode"].choices == {"fast"}


def test_the_table_follows_renamings_and_names_what_is_gone(releases: list[Release]) -> None:
    options = tuple(Option(name=name) for name in ("box_host", "box_port", "array_mode"))
    today = Catalogue("29.0.0", (Driver(path="cinder.volume.drivers.box.BoxDriver", options=options),), ())
    table = Table(releases, today)
    assert dict(table.options()) == {
        "array_host": [1, "box_host", "box"],
        "array_port": [1, "box_port", "box"],
        "array_gone": [1, "", "it belonged to cinder.volume.drivers.array"],
    }
    assert table.values() == {"array_mode": {"slow": [1, "", ""]}}
    assert dict(table.drivers()) == {"cinder.volume.drivers.array.ArrayDriver": [1, "", ""]}

"""`check` creates no pool of volume files, and sees what the driver would see."""

from __future__ import annotations

from pathlib import Path

from csi_cinderlib.drivers.identities import Memory
from tests.component.commands.test_check import GOOD, check


def test_no_pool_is_created(tmp_path: Path) -> None:
    outcome = check(tmp_path, GOOD % (tmp_path / "deep/volumes"))
    assert outcome.returncode == 0, outcome.stdout
    assert "pool good/one" in outcome.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"]


def test_a_pool_whose_disk_is_not_mounted_is_bad(tmp_path: Path) -> None:
    pool = tmp_path / "volumes"
    pool.mkdir()
    Memory(str(tmp_path / "state/cinder")).remember(str(pool), "99f5bf88-ad32-47f5-8826-8cbd204a3980")
    outcome = check(tmp_path, GOOD % pool)
    assert outcome.returncode == 1, outcome.stdout
    assert "now holds no pool; check that the disk of that pool is mounted" in outcome.stdout
    assert list(pool.iterdir()) == []


def test_a_file_in_the_place_of_a_pool_is_bad(tmp_path: Path) -> None:
    (tmp_path / "volumes").write_text("")
    outcome = check(tmp_path, GOOD % (tmp_path / "volumes/below"))
    assert outcome.returncode == 1, outcome.stdout
    assert f"cannot use the directory {tmp_path / 'volumes/below'}: Not a directory" in outcome.stdout

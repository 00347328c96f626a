"""Promise 42 from end to end: from a YAML file to what the driver reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.config.load import load
from csi_cinderlib.errors import ConfigurationError
from tests.support.local_backends import NOTHING, MakeBackend

FILE = r"""
backends:
  array:
    driver: DRIVER
    options:
      nothing-password: VALUE
      nothing_error: {file: message}
      nothing_pools: ["Disk pool 1, fast", 007, 'it''s "quoted"', "two\nlines", $pool, {env: POOL}]
      nothing_delay: 0.50
      nothing_port: 8443
      nothing_multiattach: No
      nothing_capacity_gb: 0x10
      nothing_journal:
      replication_device: [{backend_id: 012, san_password: "pa,ss:$w\n"}]
"""
MESSAGE = "-----BEGIN-----\n\nabc $my_ip\n-----END-----\n"


@pytest.mark.parametrize(
    "value",
    ["012345", "000120001234", "yes", "12:30:45", "5.50", "1_000", "0x10", "2026-11-29", ".inf", "no", "Str0ng$Passw0rd", "$$", "'~'"],
)  # fmt: skip
def test_the_driver_reads_what_is_written(tmp_path: Path, make: MakeBackend, value: str) -> None:
    (tmp_path / "message").write_text(MESSAGE + "\n")
    (tmp_path / "config.yaml").write_text(FILE.replace("DRIVER", NOTHING).replace("VALUE", value))
    (settings,) = load([tmp_path / "config.yaml"], environment={"POOL": "a,b"}).backends
    made: Any = make(settings.name, **settings.options)
    read = made.driver.configuration
    assert read.nothing_password == value.strip("'")
    assert read.nothing_error == MESSAGE
    assert read.nothing_pools == ["Disk pool 1, fast", "007", 'it\'s "quoted"', "two\nlines", "$pool", "a,b"]
    assert (read.nothing_delay, read.nothing_port, read.nothing_multiattach) == (0.5, 8443, False)
    assert (read.nothing_capacity_gb, read.nothing_journal) == ("0x10", "")
    assert read.replication_device == [{"backend_id": "012", "san_password": "pa,ss:$w\n"}]


def test_a_mapping_is_no_text(tmp_path: Path, make: MakeBackend) -> None:
    text = FILE.replace("DRIVER", NOTHING).replace("VALUE", "{FILE: /run/secrets/x}").replace("{file: message}", "[x]")
    (tmp_path / "config.yaml").write_text(text)
    (settings,) = load([tmp_path / "config.yaml"], environment={"POOL": "a"}).backends
    with pytest.raises(ConfigurationError) as caught:
        make(settings.name, **settings.options)
    assert {key for key, _ in caught.value.problems} >= {
        "backends.array.options.nothing_password",
        "backends.array.options.nothing_error",
    }

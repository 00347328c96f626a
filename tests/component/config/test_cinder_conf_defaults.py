"""[DEFAULT] of a cinder.conf: what drivers see of it, what is said about the rest, and two of them in one process."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder.runtime import Runtime, _process
from csi_cinderlib.config import load
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.persistence.memory import MemoryStore

CINDER_CONF = """
[DEFAULT]
enabled_backends = a
my_ip = 192.0.2.55
volume_name_template = vol-%s
snapshot_name_template = snap-%s
site = paris
transport_url = rabbit://cinder:rabbit-secret@mq
zoning_mode = fabric
state_path = /var/lib/cinder
host = controller-1
target_port = 3261
[a]
volume_driver = tests.support.fakes.nothing.NothingDriver
nothing_error = $my_ip in ${site}
nothing_journal = $state_path/journal
"""


class Process:
    """What a controller does with a configuration."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runtimes: list[Runtime] = []
        self._backends: list[LocalBackend] = []

    def start(self, name: str, cinder_conf: str, yaml: str = "") -> Any:
        """The back end of this cinder.conf."""
        state = self._folder / name
        state.mkdir()
        (state / "cinder.conf").write_text(cinder_conf)
        (state / "settings.yaml").write_text(f"cinder_conf: cinder.conf\n{yaml}")
        settings = load.load([state / "settings.yaml"], environment={"CINDERLIB_STATE_DIR": str(state)})
        runtime = Runtime(state, defaults=settings.cinder_defaults)
        self._runtimes.append(runtime)
        backend = LocalBackend(settings.backends[-1], store=MemoryStore(), runtime=runtime)
        self._backends.append(backend)
        backend.start()
        return backend

    def end(self) -> None:
        for backend in self._backends:
            backend.stop()
        for runtime in self._runtimes:
            runtime.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    process.end()


def test_drivers_see_what_cinder_knows_and_what_they_refer_to(process: Process, tmp_path: Path) -> None:
    from oslo_config import cfg

    backend = process.start("one", CINDER_CONF)
    assert backend.driver.configuration.nothing_error == "192.0.2.55 in paris"
    assert backend.driver.configuration.target_ip_address == "192.0.2.55"
    assert (cfg.CONF.volume_name_template, cfg.CONF.snapshot_name_template) == ("vol-%s", "snap-%s")


def test_what_has_no_effect_is_named_without_its_value_and_is_stored_nowhere(
    process: Process, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        backend = process.start("one", CINDER_CONF)
    (line,) = (vars(record)["values"]["options"] for record in caplog.records if "[DEFAULT]" in record.getMessage())
    named = [word for word in ("host", "state_path", "target_port", "transport_url", "zoning_mode") if word in line]
    assert named == ["host", "state_path", "target_port", "transport_url", "zoning_mode"]
    assert not any(word in line for word in ("my_ip", "volume_name_template", "site", "enabled_backends"))
    assert "rabbit-secret" not in line + "".join(str(dict(sections["DEFAULT"])) for sections in _process.sections)
    assert backend.driver.host == "csi-cinderlib@a"
    assert backend.driver.configuration.nothing_journal == f"{tmp_path}/one/cinder/journal"


def test_the_settings_may_give_such_options_too(process: Process) -> None:
    plain = CINDER_CONF.replace("my_ip = 192.0.2.55\n", "")
    backend = process.start("one", plain, "cinder_defaults: {my_ip: 192.0.2.66}")
    assert backend.driver.configuration.target_ip_address == "192.0.2.66"


def test_two_values_of_one_option_in_one_process_are_refused_by_its_name(process: Process) -> None:
    first = process.start("one", CINDER_CONF)
    with pytest.raises(
        ConfigurationError, match=r"\[DEFAULT\] my_ip: already has another value in this process"
    ) as caught:
        process.start("two", CINDER_CONF.replace("192.0.2.55", "192.0.2.77"))
    assert "192.0.2" not in str(caught.value)
    assert first.driver.configuration.target_ip_address == "192.0.2.55"
    process.start("same", CINDER_CONF)


def test_a_value_is_free_again_when_its_runtime_is_closed(process: Process) -> None:
    process.start("one", CINDER_CONF)
    process.end()
    backend = process.start("two", CINDER_CONF.replace("192.0.2.55", "192.0.2.77"))
    assert backend.driver.configuration.target_ip_address == "192.0.2.77"


def test_a_value_that_does_not_fit_is_named_and_spoils_nothing(process: Process) -> None:
    with pytest.raises(ConfigurationError, match=r"\[DEFAULT\] service_down_time: invalid value: .*integer"):
        process.start("one", CINDER_CONF.replace("site =", "service_down_time = many\nsite ="))
    assert process.start("two", CINDER_CONF).ready


@pytest.mark.parametrize("command", ["check", "serve"])
def test_the_commands_take_them_along(tmp_path: Path, command: str) -> None:
    (tmp_path / "cinder.conf").write_text(CINDER_CONF.replace("site =", "service_down_time = many\nsite ="))
    (tmp_path / "settings.yaml").write_text(f"cinder_conf: cinder.conf\nmode: controller\nstate_dir: {tmp_path}\n")
    argv = [sys.executable, "-m", "csi_cinderlib", command, "--config", str(tmp_path / "settings.yaml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "[DEFAULT] service_down_time: invalid value" in done.stdout + done.stderr

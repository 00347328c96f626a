"""Every kind of configuration that Cinder's documentation and deployment tools show is read as oslo.config reads it, or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.backend import catalogue
from csi_cinderlib.errors import ConfigurationError
from tests.component.corpus.reading import Expected, Outcome, expected, files
from tests.component.corpus.worker import Worker

pytestmark = pytest.mark.timeout(900)  # the first test waits for Cinder, one of them for all files


@pytest.mark.parametrize("file", files(), ids=lambda file: file.stem)
def test_a_file_is_read_as_oslo_config_reads_it_or_refused_with_a_reason(worker: Worker, file: Path) -> None:
    wanted = expected(file)
    whole = wanted.pop("file", None)
    if whole:
        with pytest.raises(ConfigurationError) as caught:
            worker.outcomes(file)
        assert all(part in str(caught.value) for part in whole.errors)
        return
    outcomes = worker.outcomes(file)
    assert wanted.keys() <= outcomes.keys()
    for name, outcome in outcomes.items():
        compare(outcome, wanted.get(name, Expected()), is_peer=file.suffix == ".conf")


def compare(outcome: Outcome, wanted: Expected, *, is_peer: bool) -> None:
    """Where oslo.config cannot read the file (`is_peer`), only the expected options may differ from their defaults."""
    assert bool(outcome.error) == bool(wanted.errors), outcome.error
    for part in wanted.errors:
        assert part in outcome.error
    for part in wanted.warnings:
        assert any(part in message for message in outcome.warnings), (part, outcome.warnings)
    told = [message for message in outcome.warnings if " was " in message or "renamed" in message]
    assert not [message for message in told if not any(part in message for part in wanted.warnings)]
    if not outcome.error:
        assert {name: outcome.values[name] for name in wanted.values} == wanted.values
    if not is_peer:
        changed = {name for name, value in outcome.values.items() if value != outcome.oracle[name]}
        assert changed <= wanted.values.keys()
        return
    ours = {name: value for name, value in outcome.values.items() if name not in wanted.differing}
    assert ours == {name: value for name, value in outcome.oracle.items() if name not in wanted.differing}


def test_every_driver_is_in_a_file_and_accepted(worker: Worker) -> None:
    accepted = {
        outcome.driver
        for file in files()
        if "file" not in expected(file)
        for outcome in worker.outcomes(file).values()
        if not outcome.error
    }
    drivers = {driver.path for driver in catalogue.load().drivers if driver.path.startswith("cinder.")}
    assert not drivers - accepted

"""The programs whose types `make lint` checks do what their users expect."""

from __future__ import annotations

import json
from typing import Any

import csi_cinderlib.cinderlib as cinderlib
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING
from tests.component.cinderlib.typed import programs


def test_programs_that_are_typed_run(process_wide: Any) -> None:
    cinderlib.setup()
    backend = cinderlib.Backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1, extra_specs={"tier": "1"})
    connected = programs.connect(backend, volume.id, json.dumps(CONNECTOR))
    assert programs.connect(backend, volume.id, json.dumps(CONNECTOR)) == connected
    assert json.loads(programs.save_device(volume, '{"path": "/dev/sda"}'))["device"]["path"] == "/dev/sda"
    assert programs.free_space(backend) > 0
    assert programs.snapshot_and_restore(volume, cinderlib.Volume.new_uuid()) == ("available", "available")
    (snapshot,) = volume.snapshots
    assert programs.describe(snapshot)["source"] == volume.id
    assert programs.specs(volume) == {"tier": "1"}
    assert programs.publish(volume, "node-2", {**CONNECTOR, "host": "node-2"}, "rw") == "nothing /staging False"
    assert programs.remember_capability(volume.connections[0], "rw")["stored"] == "rw"
    assert programs.remember_node("node-2") == "node-2"
    assert programs.delete(volume).startswith(f"Volume {volume.id} 400 ")
    assert programs.manifest(backend) == ("1.0", "NothingDriver", True)

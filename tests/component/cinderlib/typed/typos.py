"""Mistakes that a type checker must report. They are never run.

`make lint` fails if one of them passes: mypy then reports that its ignore is not used.
"""

# ruff: noqa: B018  # attributes are only read

from __future__ import annotations

import csi_cinderlib.cinderlib as cl
from csi_cinderlib.cinderlib import exception
from csi_cinderlib.cinderlib.persistence import base


def volume(vol: cl.Volume) -> None:
    vol.sttaus  # type: ignore[attr-defined]  # status
    vol.creaet()  # type: ignore[attr-defined]  # create
    vol.extend("2")  # type: ignore[arg-type]  # a number
    vol.display_name.upper()  # type: ignore[union-attr]  # a volume may have no name
    vol.volume_type.extra_spec  # type: ignore[union-attr]  # extra_specs
    vol.clone(sise=3)  # type: ignore[call-arg]  # size
    vol.create_snapshot(metadata=["a"])  # type: ignore[arg-type]  # a dictionary
    vol.backend.creat_volume(1)  # type: ignore[union-attr]  # create_volume
    cl.Volume(vol, nmae="x")  # type: ignore[call-arg]  # name


def snapshot(snap: cl.Snapshot) -> None:
    snap.volum  # type: ignore[attr-defined]  # volume
    snap.volume.sise  # type: ignore[attr-defined]  # size
    snap.size  # type: ignore[attr-defined]  # volume_size
    snap.create_volume(size="3")  # type: ignore[arg-type]  # a number


def connection(conn: cl.Connection, vol: cl.Volume) -> None:
    conn.pth  # type: ignore[attr-defined]  # path
    conn.path.frob()  # type: ignore[union-attr]  # text
    conn.connector_info["host"].frob()  # type: ignore[attr-defined]  # text
    conn.conn_info["data"].keyz()  # type: ignore[attr-defined]  # keys
    conn.connection_info["conn"].dta  # type: ignore[attr-defined]  # ["data"]
    conn.device["path"] + 1  # type: ignore[operator]  # text
    vol.connect({}, atach_mode="ro")  # type: ignore[call-arg]  # attach_mode


def backend(backend: cl.Backend) -> None:
    backend.creat_volume(1)  # type: ignore[attr-defined]  # create_volume
    backend.create_volume(1, extra_spec={})  # type: ignore[call-arg]  # extra_specs
    backend.stats()["pools"].frob  # type: ignore[attr-defined]  # a list
    backend.stats()["pools"][0]["free_capacity_gb"] + 1  # type: ignore[operator]  # may be text
    backend.configuratio  # type: ignore[attr-defined]  # configuration
    backend.persistence.get_volume()  # type: ignore[attr-defined]  # get_volumes
    cl.Backend.backends["a"].idd  # type: ignore[attr-defined]  # id


def plugin(plugin: base.PersistenceDriverBase, snap: cl.Snapshot) -> None:
    plugin.set_volume(snap)  # type: ignore[arg-type]  # a volume
    plugin.get_volumes()[0].sttaus  # type: ignore[attr-defined]  # status
    plugin.get_key_values()[0].vale  # type: ignore[attr-defined]  # value
    cl.objects.setup(plugin, cl.Backend, None, None, "no")  # type: ignore[arg-type]  # a bool


def module() -> None:
    cl.setpu()  # type: ignore[attr-defined]  # setup
    cl.setup(root_helper=1)  # type: ignore[arg-type]  # text
    cl.get_connector_properties()["initiator"].frob  # type: ignore[attr-defined]  # text
    try:
        cl.load("{}")
    except exception.VolumeNotFound as error:
        error.mesage  # type: ignore[attr-defined]  # msg
        error.resource.idd  # type: ignore[union-attr]  # id
    except exception.VolumeNotfound:  # type: ignore[attr-defined]  # VolumeNotFound
        pass

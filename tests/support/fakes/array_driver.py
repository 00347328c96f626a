"""A Cinder driver of a storage array that is as nasty as real ones: what it does wrong, options choose.

Its options, beside those of `nothing.NothingDriver`:

* `nothing_array_file`: the array's file (see `array.Array`); without it, the array ends with the driver.
* `nothing_installation`: who this driver is in the array's audit log; the name of the back end by default.
* `nothing_traits`: names in TRAITS.
* `nothing_faults`: what single calls do instead of working, see `fault_plan`.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cinder import exception, interface
from cinder.volume import configuration
from oslo_config import cfg
from oslo_log import log
from oslo_service import loopingcall

from tests.support.fakes.array import SNAPSHOT, VOLUME, Array, Lun, NameTaken
from tests.support.fakes.fault_plan import FaultPlan
from tests.support.fakes.nothing import OPTIONS, NothingDriver

LOG = log.getLogger(__name__)
Method = TypeVar("Method", bound=Callable[..., Any])

ASSIGNED_IDS = "assigned-ids"
IDS_IN_METADATA = "ids-in-metadata"
UNIQUE_NAMES = "unique-names"
REFUSES_UNKNOWN = "refuses-unknown"
REFUSES_SAME_SIZE = "refuses-same-size"
EXTENDS_BY_DIFFERENCE = "extends-by-difference"
KEEPS_SESSION = "keeps-session"
RUNS_PROGRAM = "runs-program"
PRINTS_LATE = "prints-late"

TRAITS: Mapping[str, str] = {
    ASSIGNED_IDS: """The array assigns ids, which are answered as `provider_location`, and the driver knows objects by them only:
        what has none is warned of and left alone, except where something is asked of it
        (hitachi/hbsd_common.py, infortrend/raidcmd_cli/common_cli.py, rsd.py). Otherwise it knows objects by name.""",
    IDS_IN_METADATA: "The array assigns ids, which the driver keeps in the volume's or snapshot's metadata (qnap.py).",
    UNIQUE_NAMES: """A second object of a name is refused (dell_emc/xtremio.py, fusionstorage/dsware.py). Otherwise it is created,
        and a driver that knows objects by name then refuses to touch either (solidfire.py).""",
    REFUSES_UNKNOWN: """To delete, unmap or unexport an unknown volume is an error (toyou/acs5000/acs5000_common.py,
        zadara/zadara.py). Otherwise it is done already (lvm.py, vastdata/driver.py).""",
    REFUSES_SAME_SIZE: "To extend a volume to the size that it has is an error, as lvextend has it (lvm.py).",
    EXTENDS_BY_DIFFERENCE: """The array is told by how much to extend, from the size that Cinder knows
        (infortrend/raidcmd_cli/common_cli.py).""",
    KEEPS_SESSION: """A looping call of its own logs in again and again, and logs how (hitachi/hbsd_rest_api.py,
        dell_emc/powerflex/rest_client.py, netapp/dataontap/utils/loopingcalls.py).""",
    RUNS_PROGRAM: """A vendor's program writes to this process' standard error (infortrend/raidcmd_cli/cli_factory.py,
        dell_emc/vnx/client.py).""",
    PRINTS_LATE: "A vendor's program goes on after the end of the driver's process, and writes to its standard error.",
}
SESSION_SECONDS = 0.01

ARRAY_OPTIONS = [
    cfg.StrOpt("nothing_array_file", default="", help="The array's file."),
    cfg.StrOpt("nothing_installation", default="", help="The name of this installation in the array's log."),
    cfg.ListOpt("nothing_traits", default=[], help="What this array does differently."),
    cfg.ListOpt("nothing_faults", default=[], help="What calls do instead of working."),
]
cfg.CONF.register_opts(ARRAY_OPTIONS, group=configuration.SHARED_CONF_GROUP)


def _call(method: Method) -> Method:
    """Let the plan decide what becomes of the call, before and after its effect."""
    name = method.__name__

    @functools.wraps(method)
    def planned(self: ArrayDriver, *arguments: Any, **named: Any) -> Any:
        id = next((str(argument.id) for argument in arguments if hasattr(argument, "id")), "")
        self._called(name, id)
        self.plan.before(name, id)
        return self.plan.after(name, id, method(self, *arguments, **named))

    return planned  # type: ignore[return-value]  # wraps


@interface.volumedriver
class ArrayDriver(NothingDriver):
    """See the module. `array` is the array, `plan` holds the faults."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = self.configuration
        settings.append_config_values(ARRAY_OPTIONS)
        self._traits = frozenset(settings.nothing_traits)
        assert self._traits <= TRAITS.keys(), self._traits - TRAITS.keys()
        path = Path(settings.nothing_array_file) if settings.nothing_array_file else None
        self.array = Array(path, by=settings.nothing_installation or settings.volume_backend_name)
        self.plan = FaultPlan(settings.nothing_faults)
        self.logins = 0

    @staticmethod
    def get_driver_options() -> list[Any]:
        return [*OPTIONS, *ARRAY_OPTIONS]

    # --- set-up

    def do_setup(self, context: Any) -> None:
        super().do_setup(context)
        if RUNS_PROGRAM in self._traits:
            self._run_program()
        if PRINTS_LATE in self._traits:
            self._leave_program()
        if KEEPS_SESSION in self._traits:
            loopingcall.FixedIntervalLoopingCall(self._keep_session).start(interval=SESSION_SECONDS)

    def _run_program(self) -> None:
        script = 'echo "raidcmd: logging in as admin with $0" >&2'
        subprocess.run(["/bin/sh", "-c", script, self.configuration.nothing_password], check=True)

    def _leave_program(self) -> None:
        """A service of the machine: it goes on after this process for a moment."""
        script = 'while [ -e /proc/$1 ]; do sleep 0.1; done; sleep 1; echo "raidcmd: logging out as admin with $0" >&2'
        argv = ["/bin/sh", "-c", script, self.configuration.nothing_password, str(os.getpid())]
        subprocess.Popen(argv, start_new_session=True)

    def _keep_session(self) -> None:
        self.logins += 1
        LOG.info("Session %d: logging in as admin with %s", self.logins, self.configuration.nothing_password)

    def get_volume_stats(self, refresh: bool = False) -> Any:
        report = super().get_volume_stats(refresh)
        taken = sum(lun.size for lun in self.array.luns())
        pools = [{**pool, "provisioned_capacity_gb": taken} for pool in report["pools"]]
        self.plan.before("get_volume_stats", "")
        return self.plan.after("get_volume_stats", "", {**report, "pools": pools})

    # --- volumes

    @_call
    def create_volume(self, volume: Any) -> Any:
        return self._create(VOLUME, volume.name, volume.size)

    @_call
    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> Any:
        self._require(SNAPSHOT, snapshot)
        return self._create(VOLUME, volume.name, volume.size)

    @_call
    def create_cloned_volume(self, volume: Any, src_vref: Any) -> Any:
        self._require(VOLUME, src_vref)
        return self._create(VOLUME, volume.name, volume.size)

    @_call
    def delete_volume(self, volume: Any) -> None:
        lun = self._find_or_warn(VOLUME, volume)
        if lun is None:
            return
        if lun.hosts:
            raise exception.VolumeBackendAPIException(data=f"{lun.id} is mapped to {', '.join(sorted(lun.hosts))}")
        if self.array.luns(SNAPSHOT, parent=lun.id):
            raise exception.VolumeIsBusy(volume_name=volume.name)
        self.array.delete(lun.id)

    @_call
    def extend_volume(self, volume: Any, new_size: int) -> None:
        lun = self._require(VOLUME, volume)
        if EXTENDS_BY_DIFFERENCE in self._traits:
            new_size = lun.size + new_size - volume.size
        if REFUSES_SAME_SIZE in self._traits and new_size == lun.size:
            raise exception.VolumeBackendAPIException(data=f"New size ({new_size} GiB) matches existing size")
        self.array.extend(lun.id, new_size)

    @_call
    def manage_existing_get_size(self, volume: Any, existing_ref: dict[str, str]) -> int:
        """By name, or by the array's id where it assigns them (lvm.py, infortrend/raidcmd_cli/common_cli.py)."""
        key = "source-id" if ASSIGNED_IDS in self._traits else "source-name"
        if key not in existing_ref:
            raise exception.ManageExistingInvalidReference(existing_ref=existing_ref, reason=f"{key} is missing")
        luns = [lun for lun in self.array.luns(VOLUME) if existing_ref[key] in (lun.id, lun.name)]
        if len(luns) != 1:
            raise exception.ManageExistingInvalidReference(existing_ref=existing_ref, reason="it does not exist")
        return luns[0].size

    @_call
    def revert_to_snapshot(self, context: Any, volume: Any, snapshot: Any) -> None:
        self._require(VOLUME, volume)
        self._require(SNAPSHOT, snapshot)

    # --- snapshots

    @_call
    def create_snapshot(self, snapshot: Any) -> Any:
        parent = self._require(VOLUME, snapshot.volume)
        return self._create(SNAPSHOT, snapshot.name, snapshot.volume_size, parent=parent.id)

    @_call
    def delete_snapshot(self, snapshot: Any) -> None:
        if lun := self._find_or_warn(SNAPSHOT, snapshot):
            self.array.delete(lun.id)

    # --- connections

    @_call
    def ensure_export(self, context: Any, volume: Any) -> None:
        self._require(VOLUME, volume)

    @_call
    def create_export(self, context: Any, volume: Any, connector: Any) -> dict[str, Any]:
        """The answer holds what `initialize_connection` needs, as of Cinder's iSCSI targets (targets/iscsi.py)."""
        self._require(VOLUME, volume)
        return {"provider_auth": f"CHAP {connector['host']} password-of-the-target"}

    @_call
    def remove_export(self, context: Any, volume: Any) -> None:
        self._find_or_warn(VOLUME, volume)

    @_call
    def initialize_connection(self, volume: Any, connector: dict[str, Any]) -> dict[str, Any]:
        lun = self._require(VOLUME, volume)
        method, user, password = volume.provider_auth.split()
        self.array.map(lun.id, connector["host"])
        data = {"target_lun": 1, "auth_method": method, "auth_username": user, "auth_password": password}
        return {"driver_volume_type": "nothing", "data": data}

    @_call
    def terminate_connection(self, volume: Any, connector: dict[str, Any], **kwargs: Any) -> bool:
        if lun := self._find_or_warn(VOLUME, volume):
            self.array.unmap(lun.id, connector["host"])
        return bool(self.configuration.nothing_shared_connection)

    # --- within

    def _create(self, kind: str, name: str, size: int, *, parent: str = "") -> dict[str, Any]:
        try:
            id = self.array.create(kind, name, size, parent=parent, unique=UNIQUE_NAMES in self._traits)
        except NameTaken as error:
            raise name_taken(kind) from error
        if IDS_IN_METADATA in self._traits:
            return {"metadata": {"LUNIndex": id}}
        return {"provider_location": id} if ASSIGNED_IDS in self._traits else {"metadata": {"pool": "one"}}

    def _find(self, kind: str, known: Any) -> Lun | None:
        if ASSIGNED_IDS in self._traits:
            return self.array.get(known.provider_location) if known.provider_location else None
        if IDS_IN_METADATA in self._traits:
            id = known.metadata.get("LUNIndex", "")
            return self.array.get(id) if id else None
        luns = self.array.luns(kind, name=known.name)
        if len(luns) > 1:
            raise exception.VolumeBackendAPIException(data=f"Detected more than one {kind} with name {known.name}")
        return luns[0] if luns else None

    def _find_or_warn(self, kind: str, known: Any) -> Lun | None:
        """None where an unknown object is as good as done."""
        lun = self._find(kind, known)
        if lun is None:
            if REFUSES_UNKNOWN in self._traits:
                raise _not_found(kind, known)
            if ASSIGNED_IDS in self._traits:
                LOG.warning("No %s is known by id '%s' for %s", kind, known.provider_location, known.name)
            else:
                LOG.warning("No %s is known for %s", kind, known.name)
        return lun

    def _require(self, kind: str, known: Any) -> Lun:
        lun = self._find(kind, known)
        if lun is None:
            raise _not_found(kind, known)
        return lun


def name_taken(kind: str) -> Exception:
    error: Exception = exception.VolumeBackendAPIException(data=f"A {kind} by this name already exists")
    return error


def _not_found(kind: str, known: Any) -> Exception:
    error: Exception
    if kind == SNAPSHOT:
        error = exception.SnapshotNotFound(snapshot_id=known.id)
    else:
        error = exception.VolumeNotFound(volume_id=known.id)
    return error

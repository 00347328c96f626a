"""A Cinder driver that works in threads of its own, in each of the ways in which Cinder's drivers have some."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from types import MappingProxyType
from typing import Any

import eventlet
import eventlet.greenpool
import eventlet.greenthread
import futurist
from cinder import context, interface, objects
from cinder.volume import configuration
from oslo_config import cfg
from oslo_service import loopingcall, threadgroup

from tests.support.fakes.nothing import NothingDriver

Start = Callable[[Callable[[], None]], object]

OPTIONS = [
    cfg.StrOpt("threaded_way", default="thread", help="How threads are started, see WAYS."),
    cfg.StrOpt(
        "threaded_during", default="create_volume", choices=["do_setup", "create_volume"], help="By which call."
    ),
    cfg.StrOpt("threaded_mark", default="", help="What is written by the threads."),
    cfg.StrOpt("threaded_volume", default="", help="The volume that the threads change."),
    cfg.StrOpt("threaded_group", default="", help="The group that the threads look up."),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


class Pools:
    """What a driver's module may have for all its back ends. One worker each, so that one thread serves all of them."""

    def __init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.plain = ThreadPoolExecutor(1)
        self.futurist = futurist.ThreadPoolExecutor(1)
        self.multiprocessing = ThreadPool(1)

    def close(self) -> None:
        """End the threads."""
        self.plain.shutdown()
        self.futurist.shutdown()
        self.multiprocessing.terminate()
        self.multiprocessing.join()

    def submit(self, work: Callable[[], None]) -> None:
        self.plain.submit(work)

    def submit_to_futurist(self, work: Callable[[], None]) -> None:
        self.futurist.submit(work)


SHARED = Pools()


class _Subclass(threading.Thread):
    """As drivers have it that override `run`."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.work = work

    def run(self) -> None:
        self.work()


def _once(work: Callable[[], None]) -> Callable[[], None]:
    def called() -> None:
        work()
        raise loopingcall.LoopingCallDone

    return called


def _thread_of_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=lambda: threading.Thread(target=work, daemon=True).start(), daemon=True).start()


WAYS: Mapping[str, Start] = MappingProxyType(
    {
        "thread": lambda work: threading.Thread(target=work, daemon=True).start(),
        "subclass of thread": lambda work: _Subclass(work).start(),
        "thread of a thread": _thread_of_a_thread,
        "timer": lambda work: threading.Timer(0, work).start(),
        "looping call": lambda work: loopingcall.FixedIntervalLoopingCall(_once(work)).start(interval=60),
        "late looping call": lambda work: loopingcall.FixedIntervalLoopingCall(_once(work)).start(60, 0.01),
        "dynamic looping call": lambda work: loopingcall.DynamicLoopingCall(_once(work)).start(),
        "thread group": lambda work: threadgroup.ThreadGroup().add_thread(work),
        "eventlet.spawn": eventlet.spawn,
        "greenthread.spawn": eventlet.greenthread.spawn,
        "green pool": lambda work: eventlet.greenpool.GreenPool().spawn(work),
        "own pool": lambda work: ThreadPoolExecutor(1).submit(work),
        "own pool of futurist": lambda work: futurist.ThreadPoolExecutor(1).submit(work),
        "own pool of multiprocessing": lambda work: ThreadPool(1).apply_async(work),
        "shared pool": SHARED.submit,
        "shared pool of futurist": SHARED.submit_to_futurist,
        "shared pool, apply_async": lambda work: SHARED.multiprocessing.apply_async(func=work),
        "shared pool, map_async": lambda work: SHARED.multiprocessing.map_async(lambda _: work(), [1]),
        "shared pool, imap": lambda work: SHARED.multiprocessing.imap(lambda _: work(), [1]),
        "shared pool, imap_unordered": lambda work: SHARED.multiprocessing.imap_unordered(lambda _: work(), [1]),
    }
)
UNKNOWN_WAY = "a thread that threading does not know"


@interface.volumedriver
class ThreadedDriver(NothingDriver):
    """Each thread waits for `go`, then asks Cinder's database for this and that; `heard` and `failure` tell how it went."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.mark, self.volume, self.group = (
            getattr(self.configuration, f"threaded_{name}") for name in ("mark", "volume", "group")
        )
        self.go = threading.Event()
        self.finished = threading.Event()
        self.heard: dict[str, Any] = {}
        self.failure: BaseException | None = None

    def do_setup(self, context: Any) -> None:
        super().do_setup(context)
        self._start_during("do_setup")

    def create_volume(self, volume: Any) -> dict[str, Any]:
        updates = super().create_volume(volume)
        self._start_during("create_volume")
        return updates

    def _start_during(self, method: str) -> None:
        if self.configuration.threaded_during != method:
            return
        way = self.configuration.threaded_way
        if way == UNKNOWN_WAY:
            _thread.start_new_thread(self._work, ())
        else:
            WAYS[way](self._work)

    def _work(self) -> None:
        self.go.wait(60)
        try:
            self._ask_the_database()
        except BaseException as failure:
            self.failure = failure
        finally:
            self.finished.set()

    def _ask_the_database(self) -> None:
        admin = context.get_admin_context()
        self.driver_utils.insert_driver_initiator_data("iqn.threaded", "mark", self.mark)
        kept = self.driver_utils.get_driver_initiator_data("iqn.threaded")
        self.heard["initiator"] = [row.value for row in kept]
        self.heard["by host"] = [volume.name_id for volume in objects.VolumeList.get_all_by_host(admin, self.host)]
        self.heard["all"] = [volume.name_id for volume in objects.VolumeList.get_all(admin)]
        group = objects.Group.get_by_id(admin, self.group)
        self.heard["group"] = (group.name, [volume.display_name for volume in group.volumes])
        volume = objects.Volume.get_by_id(admin, self.volume)
        volume.provider_id = self.mark
        volume.save()

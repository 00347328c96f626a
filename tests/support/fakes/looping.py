"""A Cinder driver that starts oslo.service's looping calls, as Cinder's drivers do: in the background, and within a call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from cinder import interface
from cinder.volume import configuration
from oslo_config import cfg
from oslo_service import loopingcall

from tests.support.fakes.nothing import NothingDriver

OPTIONS = [
    cfg.StrOpt("looping_kind", default="fixed", help="How the background looping call is made, see KINDS."),
    cfg.BoolOpt("looping_hangs", default=False, help="Its function never returns."),
    cfg.StrOpt("looping_wait", default="", choices=["", "now", "late"], help="When create_volume waits for its own."),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)

INTERVAL = 0.01
KINDS: Mapping[str, Callable[[Callable[[], object]], object]] = MappingProxyType(
    {
        "fixed": lambda work: loopingcall.FixedIntervalLoopingCall(work).start(INTERVAL),
        "fixed with delay": lambda work: loopingcall.FixedIntervalLoopingCall(work).start(INTERVAL, initial_delay=3600),
        "fixed with timeout": lambda work: loopingcall.FixedIntervalWithTimeoutLoopingCall(work).start(
            INTERVAL, timeout=3600
        ),
        "dynamic": lambda work: loopingcall.DynamicLoopingCall(work).start(initial_delay=0),
        "back-off": lambda work: loopingcall.BackOffLoopingCall(work).start(INTERVAL, timeout=3600),
    }
)


@interface.volumedriver
class LoopingDriver(NothingDriver):
    """Set-up starts a looping call as PowerFlex's does, which logs in again; `ticks` counts how often that was."""

    ticks: ClassVar[dict[str, int]] = {}
    """By back end, also of those that could not be started."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.event: Any = None
        self.waiting = threading.Event()
        self.go_on = threading.Event()
        self.done = threading.Event()

    def do_setup(self, context: Any) -> None:
        super().do_setup(context)
        KINDS[self.configuration.looping_kind](self._tick)

    def _tick(self) -> float:
        self.ticks[self.host] = self.ticks.get(self.host, 0) + 1
        if self.configuration.looping_hangs:
            threading.Event().wait()
        return INTERVAL

    def create_volume(self, volume: Any) -> dict[str, Any]:
        updates = super().create_volume(volume)
        if when := self.configuration.looping_wait:
            self.event = loopingcall.FixedIntervalLoopingCall(self._look).start(INTERVAL)
            if when == "late":
                self.waiting.set()
                self.go_on.wait(60)
            assert self.event.wait() == "copied"
        return updates

    def _look(self) -> None:
        """Whether the array has finished its job."""
        self.waiting.set()
        if self.done.is_set():
            raise loopingcall.LoopingCallDone("copied")

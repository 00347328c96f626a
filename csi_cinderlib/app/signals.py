"""Signals to a process: those during its start, and those that do not stop it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType

from csi_cinderlib.observe import logs

NUMBERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_log = logs.logger(__name__)


def hold_back() -> None:
    """Handle signals until `Signals` and `Stopping` do: the start ends at once or goes on.

    By default, the kernel would not deliver SIGTERM to process 1 of a container, SIGINT would raise an exception inside an import,
    and each of the other signals would end the process.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # nothing is open yet
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)


class Signals:
    """Runs the actions of signals in its own thread, even while the main thread waits. Equal pending signals run the action once.

    Args:
        actions: actions by signal. A signal without an action is logged.
    """

    def __init__(self, actions: Mapping[signal.Signals, Callable[[], object]]) -> None:
        self._actions = actions
        self._asked, self._ask = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self._asked, True)

    def listen(self) -> None:
        """Call it in the main thread."""
        for number in NUMBERS:
            signal.signal(number, self._signalled)
        threading.Thread(target=self._run, name="signals", daemon=True).start()

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        """May interrupt the main thread at any line, while it holds any lock."""
        try:
            os.write(self._ask, bytes((number,)))
        except BlockingIOError:  # thousands are pending already
            return

    def _run(self) -> None:
        while True:
            for number in dict.fromkeys(os.read(self._asked, 4096)):
                self._carry_out(signal.Signals(number))

    def _carry_out(self, number: signal.Signals) -> None:
        action = self._actions.get(number)
        if action is None:
            _log.info("signal ignored", signal=number.name)
            return
        try:
            action()
        except Exception as error:
            _log.exception("signal action failed", error, signal=number.name)

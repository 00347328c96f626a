"""eventlet in this process: Cinder runs native threads, or green threads if the program has called `eventlet.monkey_patch()`.

eventlet's pools and semaphores work between threads of one kind only. In a process with native threads, Cinder's and the drivers'
modules therefore get the stand-in (`eventlet_standin`), even if the program or a library has imported the real eventlet. In a patched
process they get the real one. oslo.service's looping calls are always those of its threading back end, which are green threads in a
patched process.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from csi_cinderlib.cinder import eventlet_standin
from csi_cinderlib.concurrency import importing, without_eventlet

_TOO_LATE = (
    "eventlet.monkey_patch() was called after csi-cinderlib's set-up, which has started native threads; "
    "call it before setup() and the first Backend(...)"
)
_REWRITTEN = ("cinder", "os_brick")
"""The packages in which references to replaced modules are replaced as well."""


def is_patched() -> bool:
    """Whether `threading` is monkey-patched."""
    patcher: Any = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))


def keep_cinder_from_patching() -> None:
    """Keep the modules of Cinder's services, which a program may import, from patching this process."""
    os.environ["OS_CINDER_DISABLE_EVENTLET_PATCHING"] = "1"


def refuse_change(was_patched: bool) -> None:
    """Raises RuntimeError if the process was patched since the set-up: its locks and threads are native ones."""
    if is_patched() and not was_patched:
        raise RuntimeError(_TOO_LATE)


def choose() -> None:
    """Decide for this process, before Cinder is imported. Called once."""
    if is_patched():
        return
    with without_eventlet() as absent:
        import futurist  # noqa: F401  # it and taskflow must not see the stand-in
    if absent:
        sys.modules.update(eventlet_standin.modules())
    else:
        _refuse_patching(sys.modules["eventlet"])
    import oslo_service.backend

    if oslo_service.backend.get_backend_type() is None:  # otherwise the program has chosen, or an import has
        oslo_service.backend.init_backend(oslo_service.backend.BackendType.THREADING)


def _refuse_patching(eventlet: Any) -> None:
    """Native threads run from here on, so that `threading` cannot be patched any more."""
    original = eventlet.patcher.monkey_patch

    def monkey_patch(**on: Any) -> None:
        if on.get("thread", on.get("all", True not in on.values())):
            raise RuntimeError(_TOO_LATE)
        original(**on)

    eventlet.monkey_patch = eventlet.patcher.monkey_patch = monkey_patch


@contextmanager
def imports() -> Iterator[None]:
    """For the import of a module of Cinder: `eventlet` is the stand-in, unless the process is patched.

    The real one returns afterwards, because it belongs to the program.
    """
    ours = eventlet_standin.modules()
    real = _real_modules() if ours and not is_patched() else {}
    if not real:
        yield
        return
    with importing():
        for name in real:
            del sys.modules[name]
        sys.modules.update(ours)
        try:
            yield
            _renew(real, ours)
        finally:
            for name in [name for name in sys.modules if _is_eventlet(name)]:
                del sys.modules[name]
            sys.modules.update(real)


def _is_eventlet(name: str) -> bool:
    return name == "eventlet" or name.startswith("eventlet.")


def _real_modules() -> dict[str, types.ModuleType]:
    """The loaded modules of the real eventlet."""
    if getattr(sys.modules.get("eventlet"), "__file__", None) is None:
        return {}
    return {name: module for name, module in sys.modules.items() if _is_eventlet(name)}


def _renew(real: Mapping[str, types.ModuleType], ours: Mapping[str, types.ModuleType]) -> None:
    """Give the stand-in to modules of Cinder that were imported with the real eventlet."""
    rewrite([(module, ours[name]) for name, module in real.items() if name in ours])
    for name, module in _modules():
        derived = {key: value for key, value in vars(module).items() if _derives_from_eventlet(name, value)}
        if derived:  # its class statement has to run again
            importlib.reload(module)
            rewrite([(old, vars(module)[key]) for key, old in derived.items()])


def _derives_from_eventlet(module: str, value: object) -> bool:
    return (
        isinstance(value, type)
        and value.__module__ == module
        and any(_is_eventlet(base.__module__) for base in value.__mro__[1:])
    )


def looping_calls() -> None:
    """Let all users of `oslo_service.loopingcall` get the looping calls of the threading back end."""
    import oslo_service.loopingcall
    from oslo_service.backend._threading import loopingcall

    names: dict[str, Any] = vars(oslo_service.loopingcall)
    pairs = [(names[name], new) for name, new in vars(loopingcall).items() if isinstance(names.get(name), type)]
    names.update({name: vars(loopingcall)[name] for name in names if name in vars(loopingcall) and name[:1] != "_"})
    rewrite(pairs)


def rewrite(pairs: list[tuple[Any, Any]]) -> None:
    """Replace objects in the modules of Cinder and os-brick, wherever they were imported. Pairs are an old and a new object."""
    new = {id(old): (old, replacement) for old, replacement in pairs if old is not replacement}
    if not new:
        return
    for _, module in _modules():
        for name, value in list(vars(module).items()):
            if id(value) in new:
                setattr(module, name, new[id(value)][1])


def _modules() -> list[tuple[str, types.ModuleType]]:
    return [
        (name, module)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in _REWRITTEN and isinstance(module, types.ModuleType)
    ]

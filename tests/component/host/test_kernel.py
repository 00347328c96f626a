"""System calls: errors in words, and descriptors that are given back."""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands, kernel


def test_a_call_that_fails_says_why() -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        kernel.call("umount2", b"/nowhere/at/all", 0)
    assert caught.value.errno in {errno.ENOENT, errno.EPERM}


def test_a_call_answers_what_the_c_library_does() -> None:
    assert kernel.call("getpid") == os.getpid()


def test_numbers_of_64_bits_arrive_whole(tmp_path: Path) -> None:
    with kernel.opened(str(tmp_path / "sparse"), os.O_WRONLY | os.O_CREAT) as fd:
        kernel.call("ftruncate", fd, 5 << 32)
        assert os.fstat(fd).st_size == 5 << 32


def test_a_descriptor_is_closed_afterwards_whatever_happens(tmp_path: Path) -> None:
    for error in (None, ZeroDivisionError):
        try:
            with kernel.opened(str(tmp_path), os.O_RDONLY | os.O_DIRECTORY) as fd:
                assert not os.get_inheritable(fd)
                if error:
                    raise error
        except ZeroDivisionError:
            pass
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_an_operating_system_error_becomes_one_of_this_host() -> None:
    with pytest.raises(HostError, match=r"^reading x: Is a directory$") as caught, kernel.named("reading x"):
        raise IsADirectoryError(errno.EISDIR, "Is a directory")
    assert isinstance(caught.value.__cause__, IsADirectoryError)
    with pytest.raises(HostError, match=r"^reading x: without a number$"), kernel.named("reading x"):
        raise OSError("without a number")


def test_any_other_error_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), kernel.named("reading x"):
        raise ZeroDivisionError


def test_a_capability_of_this_process_is_known() -> None:
    """The same capability raises a hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    try:
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (soft, hard + 1))
    except (PermissionError, ValueError):
        capable = False
    else:
        capable = True
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (soft, hard))
    assert kernel.has_capability(kernel.CAP_SYS_RESOURCE) is capable


@pytest.mark.parametrize(
    ("effective", "capable"),
    [("CapEff:\t0000000001000000\n", True), ("CapEff:\t000001fffeffffff\n", False), ("Name:\tx\n", False)],
)
def test_the_effective_capabilities_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effective: str, capable: bool
) -> None:
    (tmp_path / "status").write_text(f"CapPrm:\t000001ffffffffff\n{effective}CapBnd:\t000001ffffffffff\n")
    monkeypatch.setattr(kernel, "STATUS", tmp_path / "status")
    assert kernel.has_capability(kernel.CAP_SYS_RESOURCE) is capable


@pytest.mark.root
def test_a_claimed_device_is_waited_for_only_with_patience(loop: Callable[..., str]) -> None:
    device, exclusive = loop(8), os.O_RDONLY | os.O_EXCL
    with kernel.opened(device, exclusive) as held:
        for patience in (0.0, 0.05):
            began = time.monotonic()
            with pytest.raises(OSError, match="busy") as caught, kernel.opened(device, exclusive, patience=patience):
                pass
            assert caught.value.errno == errno.EBUSY
            assert patience <= time.monotonic() - began < 30
        copy = os.dup(held)
    threading.Timer(0.2, os.close, (copy,)).start()
    with kernel.opened(device, exclusive, patience=30):
        pass


def test_what_is_missing_is_not_waited_for() -> None:
    began = time.monotonic()
    with pytest.raises(FileNotFoundError), kernel.opened("/dev/missing", os.O_RDONLY, patience=30):
        pass
    assert time.monotonic() - began < 20


@pytest.mark.root
def test_a_device_that_was_opened_exclusively_is_free_afterwards(loop: Callable[..., str]) -> None:
    """Also while other threads start programs: a child has copies of all open files until it executes its program."""
    device, ended = loop(4), threading.Event()

    def start_programs() -> None:
        while not ended.is_set():
            commands.run(["true"], timeout=60)

    threads = [threading.Thread(target=start_programs) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            with kernel.opened(device, os.O_RDWR | os.O_EXCL) as fd:
                os.pwrite(fd, b"data", 0)
                os.fsync(fd)
    finally:
        ended.set()
        for thread in threads:
            thread.join()

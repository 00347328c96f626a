"""Headers and keys of LUKS2, on files: cryptsetup needs the kernel's device mapper only for mappings, which tests in a guest open."""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, UnsafeToFormat
from csi_cinderlib.host import commands, luks, luks_header, signatures
from csi_cinderlib.host.disposable import Disposable
from csi_cinderlib.model.encryption import HEADER
from tests.component.host.formats import add_key, encrypt, slot_of

UUID = "1b4e28ba-2fa1-4d3b-a3f5-8a2c3d4e5f60"
KEY, OTHER = b"canary-key\nwith a line break\n", b"canary-other"


@pytest.fixture
def device(tmp_path: Path) -> str:
    path = tmp_path / "device"
    with path.open("wb") as file:
        file.truncate(20 * 1024**2)
    encrypt(str(path), KEY, uuid=UUID)
    return str(path)


def uuid_of(device: str) -> str:
    with luks_header.read(device) as header:
        return luks_header.uuid_of(header)


def metadata(device: str) -> str:
    with luks_header.read(device) as header:
        return luks_header.metadata(header)


def remove_slot(device: str, slot: int, *, remaining: bytes) -> None:
    with luks_header.read(device) as header:
        luks_header.remove_slot(header, slot, remaining=remaining)
        luks_header.store(device, header)


def test_a_new_header_is_recognised_by_its_uuid(device: str) -> None:
    with Path(device).open("rb") as file:
        found = signatures.recognise(file.read(signatures.SPAN), b"", 20 * 1024**2)
    assert found
    assert (found.name, found.uuid) == ("luks2", UUID)
    assert uuid_of(device) == UUID


def test_the_uuid_is_also_read_from_the_second_copy_of_the_header(device: str) -> None:
    with Path(device).open("r+b") as file:
        file.write(bytes(4096))
    assert uuid_of(device) == UUID


def test_a_header_is_only_seen_on_its_device_after_everything_else_is_there(tmp_path: Path) -> None:
    code = """
import sys
from tests.component.host.formats import add_key, encrypt, slot_of
encrypt(sys.argv[1], b"k", uuid=sys.argv[2])
"""
    for point, found in (
        ("stage.header-hidden", None),
        ("stage.header-copy", "luks2"),
        ("stage.header-copy:2", "luks2"),
    ):
        path = tmp_path / point
        with path.open("wb") as file:
            file.truncate(20 * 1024**2)
        environment = {**os.environ, "CINDERLIB_FAULT_POINT": point, "PYTHONPATH": str(Path.cwd())}
        done = subprocess.run([sys.executable, "-c", code, path, UUID], env=environment, check=False)
        assert done.returncode == -signal.SIGKILL
        seen = signatures.recognise(path.read_bytes(), b"", 20 * 1024**2)
        assert (seen.name if seen else None) == found
        if found:
            assert slot_of(str(path), b"k") == 0
            assert uuid_of(str(path)) == UUID


def test_a_header_that_another_node_has_written_meanwhile_is_kept(device: str) -> None:
    before = Path(device).read_bytes()
    with (
        luks_header.new(OTHER, uuid=UUID) as header,
        pytest.raises(UnsafeToFormat, match="an encryption header was written to"),
    ):
        luks_header.write(Disposable(device), header)
    assert Path(device).read_bytes() == before
    with Path(device).open("r+b") as file:
        file.write(bytes(4096))  # the second copy alone
    with luks_header.new(OTHER, uuid=UUID) as header, pytest.raises(UnsafeToFormat):
        luks_header.write(Disposable(device), header)


def test_a_header_has_the_layout_that_is_documented(device: str) -> None:
    found = json.loads(metadata(device))
    segment = found["segments"]["0"]
    assert (segment["offset"], segment["size"], segment["sector_size"]) == (str(16 * 1024**2), "dynamic", 4096)
    assert segment["encryption"] == luks_header.CIPHER
    kdf = found["keyslots"]["0"]["kdf"]
    assert (kdf["type"], kdf["memory"], kdf["time"]) == ("argon2id", luks_header.MEMORY_KIB, luks_header.PASSES)


def test_a_key_opens_only_its_own_slot(device: str) -> None:
    assert slot_of(device, KEY) == 0
    assert slot_of(device, OTHER) is None
    assert slot_of(device, KEY.strip()) is None, "the bytes of the key are used exactly"


def test_a_key_is_replaced_by_another(device: str) -> None:
    add_key(device, KEY, OTHER)
    assert (slot_of(device, KEY), slot_of(device, OTHER)) == (0, 1)
    remove_slot(device, 0, remaining=OTHER)
    assert (slot_of(device, KEY), slot_of(device, OTHER)) == (None, 1)


def test_a_slot_is_not_removed_without_a_key_of_another_one(device: str) -> None:
    add_key(device, KEY, OTHER)
    with pytest.raises(HostError, match="No key available"):
        remove_slot(device, 0, remaining=KEY)
    assert slot_of(device, KEY) == 0


def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in which a program in place of cryptsetup notes how it is called and when, then does what it was asked for."""
    real = commands.find_tool("cryptsetup")
    seen, shim = tmp_path / "seen", tmp_path / "bin" / "cryptsetup"
    shim.parent.mkdir()
    code = f"""#!{sys.executable}
import os, subprocess, sys, time
started = time.monotonic()
done = subprocess.run([{real!r}, *sys.argv[1:]], close_fds=False).returncode
with open({str(seen)!r}, "a") as file:
    print(started, time.monotonic(), sys.argv[1:], dict(os.environ), file=file)
sys.exit(done)
"""
    shim.write_text(code)
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    return seen


def test_no_key_is_on_a_command_line_or_in_an_environment(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watched(tmp_path, monkeypatch)
    with luks_header.new(KEY, uuid=UUID):
        pass
    add_key(device, KEY, OTHER)
    remove_slot(device, 0, remaining=OTHER)
    assert slot_of(device, OTHER) == 1
    text = seen.read_text()
    assert {"luksFormat", "luksAddKey", "luksKillSlot", "open"} <= set(re.findall(r"'([a-zA-Z]+)'", text))
    assert "canary" not in text
    assert "'DM_DISABLE_UDEV': '1'" in text


def test_a_derivation_fits_into_the_memory_of_a_nodes_pod(device: str) -> None:
    """The chart limits the pod to 256 MiB, of which the node itself needs less than half."""
    slot_of(device, KEY)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > luks_header.MEMORY_KIB
    assert luks_header.MEMORY_KIB <= 256 * 1024 // 4


def test_only_one_derivation_at_a_time_uses_its_memory(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watched(tmp_path, monkeypatch)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: slot_of(device, KEY), range(4))) == [0] * 4
    derived = (line for line in seen.read_text().splitlines() if "--test-passphrase" in line)
    times = sorted(tuple(map(float, line.split()[:2])) for line in derived)
    assert len(times) == 4
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))


def test_an_error_names_the_command_without_the_key(device: str) -> None:
    with luks_header.read(device) as header, pytest.raises(HostError, match="cryptsetup luksDump ") as failure:
        luks_header.volume_key(header, OTHER)
    assert "canary" not in str(failure.value)


def test_a_derivation_uses_no_device_and_does_not_wait_for_one(device: str, tmp_path: Path) -> None:
    """Otherwise a device that hangs would delay all other volumes."""
    with luks_header.read(device) as header, luks_header.new(OTHER, uuid=UUID) as new:
        Path(device).unlink()
        assert luks_header.slot_of(header, KEY) == 0
        luks_header.add_key(header, KEY, OTHER)
        assert len(luks_header.volume_key(header, OTHER)) == 64
        assert luks_header.volume_key(header, KEY) == luks_header.volume_key(header, OTHER)
        assert luks_header.volume_key(new, OTHER) != luks_header.volume_key(header, OTHER)


def test_the_volume_key_opens_the_header(device: str) -> None:
    with luks_header.read(device) as header:
        key = luks_header.volume_key(header, KEY)
        for given, code in ((key, 0), (bytes(64), 2)):
            with luks_header.piped(given) as source:
                argv = ("open", "--test-passphrase", "--type=luks2", f"--volume-key-file=/proc/self/fd/{source}")
                files = (header.fd, source)
                assert luks_header.run((*argv, header.path), ok=(0, 2), files=files).code == code


def test_a_header_takes_little_memory_until_it_is_written(device: str) -> None:
    """Many volumes may be created at the same time."""
    with luks_header.new(KEY, uuid=UUID) as new, luks_header.read(device) as there:
        for header in (new, there):
            assert os.fstat(header.fd).st_blocks * 512 < 1024**2
        assert luks_header.slot_of(new, KEY) == 0


def test_an_interrupted_change_of_the_header_leaves_a_whole_one(device: str) -> None:
    """Whatever part of the change has reached the device."""
    before = Path(device).read_bytes()
    add_key(device, KEY, OTHER)
    after = Path(device).read_bytes()
    slots = before[: 32 * 1024] + after[32 * 1024 :]
    one_copy = after[: 16 * 1024] + before[16 * 1024 : 32 * 1024] + after[32 * 1024 :]
    torn = after[:8192] + before[8192 : 32 * 1024] + after[32 * 1024 :]
    for content in (slots, torn, one_copy, after):
        Path(device).write_bytes(content)
        assert slot_of(device, KEY) == 0
    assert slot_of(device, OTHER) == 1
    assert after[HEADER:] == before[HEADER:]


def test_a_header_that_has_changed_since_it_was_read_is_not_overwritten(device: str) -> None:
    with luks_header.read(device) as header:
        luks_header.add_key(header, KEY, OTHER)
        add_key(device, KEY, b"of another program")
        before = Path(device).read_bytes()
        with pytest.raises(HostError, match="has changed meanwhile"):
            luks_header.store(device, header)
    assert Path(device).read_bytes() == before


def test_a_mapping_that_is_not_open_is_not_found_and_closing_it_succeeds() -> None:
    assert luks.find("cinderlib-none") is None
    luks.close("cinderlib-none")


def test_the_identity_of_a_mapping_is_that_of_the_kernel() -> None:
    assert luks.identity_of(UUID, "cinderlib-v") == f"dm:CRYPT-LUKS2-{UUID.replace('-', '')}-cinderlib-v"

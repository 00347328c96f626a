"""The creation of an encrypted volume: nothing is written before everything is known to work, and nobody loses data when it is interrupted.

The kernel's device mapper is not needed: without it, a creation ends where its mapping is opened.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, UnsafeToFormat, WrongKey
from csi_cinderlib.host import devices, unfinished
from csi_cinderlib.host.disposable import Disposable
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.model.encryption import header_of
from tests.component.host.formats import encrypt
from tests.component.node.bed import MIB, Node, Volume
from tests.component.node.conftest import assert_nothing_left

pytestmark = pytest.mark.root
DATA = b"content that no table of signatures knows" * 100
PLACE = 200 * MIB
LABEL = b"LABELONE" + bytes(16) + b"LVM2 001"


@pytest.fixture
def volume(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    """A new encrypted volume on a node that cannot open its mapping."""
    shim = tmp_path / "bin" / "cryptsetup"
    shim.parent.mkdir()
    shim.write_text(
        '#!/bin/sh\ncase "$*" in open*cinderlib-*) echo no dm-crypt >&2; exit 1;; esac\nPATH=/usr/sbin:/sbin exec cryptsetup "$@"\n'
    )
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    return node.volume(encryption="luks2", header=header_of("vol"), secrets={"passphrase": "k"})


def write(volume: Volume, content: bytes = DATA, at: int = PLACE) -> None:
    with volume.file.open("r+b") as file:
        file.seek(at)
        file.write(content)
        os.fsync(file.fileno())


def interrupted(volume: Volume) -> None:
    """The state after the node of a creation has died: the mark, and ciphertext."""
    write(volume, os.urandom(MIB))
    device = devices.attach_file(str(volume.file))
    unfinished.mark(Disposable(device), volume.id, volume.attachment)
    devices.detach_file(device, expected=devices.identity(device))


def of_the_other(volume: Volume) -> Volume:
    return replace(volume, attachment="of-the-other@1", formatting=Formatting.UNKNOWN)


def test_a_node_that_cannot_encrypt_writes_nothing(node: Node, volume: Volume) -> None:
    write(volume)
    before = volume.file.read_bytes()
    for _ in range(2):
        with pytest.raises(HostError, match="no dm-crypt"):
            node.stage(volume)
        assert node.records.find(volume.id) is None
        assert not node.records.formatted.holds(volume.id, volume.attachment)
        assert volume.file.read_bytes() == before
    node.unstage(volume)
    assert volume.file.read_bytes() == before
    assert_nothing_left(node.base)


def test_a_creation_that_was_interrupted_is_begun_again_by_any_node(node: Node, volume: Volume) -> None:
    interrupted(volume)
    other = Node(node.base / "other")
    for again in (volume, of_the_other(volume)):
        with pytest.raises(HostError, match="no dm-crypt"):  # it was about to be encrypted
            other.stage(again)


def test_a_node_does_not_begin_again_after_another_one_has_begun(node: Node, volume: Volume) -> None:
    """Its own attachment has ended, but without a fence nobody has told it so."""
    interrupted(of_the_other(volume))
    node.records.formatted.set(volume.id, volume.attachment)
    with pytest.raises(HostError, match=r"another node has begun .* meanwhile \(attachment of-the-other@1\)"):
        node.stage(volume)


def test_the_mark_of_another_volume_does_not_count(node: Node, volume: Volume) -> None:
    """The storage shows its device at the address of this one."""
    interrupted(replace(volume, id="another"))
    with pytest.raises(UnsafeToFormat, match="no encryption header was found, but the device is not blank"):
        node.stage(of_the_other(volume))


def test_what_looks_like_ciphertext_is_kept_without_the_mark(node: Node, volume: Volume) -> None:
    write(volume)
    with pytest.raises(UnsafeToFormat, match="no encryption header was found, but the device is not blank"):
        node.stage(of_the_other(volume))


def test_an_unstage_after_an_interruption_writes_nothing(node: Node, volume: Volume) -> None:
    interrupted(volume)
    with pytest.raises(HostError):
        node.stage(volume)
    before = volume.file.read_bytes()
    node.unstage(volume)
    assert volume.file.read_bytes() == before


@pytest.mark.parametrize("rule", [Formatting.NEVER_FORMATTED, Formatting.UNKNOWN])
def test_a_refusal_ends_the_right_to_begin_again(node: Node, volume: Volume, rule: Formatting) -> None:
    interrupted(volume)
    write(volume, LABEL, at=512)
    with pytest.raises(UnsafeToFormat, match="contains lvm2"):
        node.stage(replace(volume, formatting=rule))
    write(volume, bytes(len(LABEL)), at=512)
    write(volume)
    with pytest.raises(UnsafeToFormat, match="no encryption header was found"):
        node.stage(of_the_other(volume))


@pytest.mark.parametrize("rule", [Formatting.FORBIDDEN, Formatting.UNKNOWN])
def test_a_header_that_was_seen_ends_the_right_to_begin_again(node: Node, volume: Volume, rule: Formatting) -> None:
    """Whether its key is known or not."""
    encrypt(str(volume.file), b"another", uuid=volume.header)
    interrupted(volume)
    with pytest.raises(WrongKey):
        node.stage(replace(volume, formatting=rule))
    write(volume, bytes(5 * MIB), at=0)
    with pytest.raises(UnsafeToFormat, match="no encryption header was found"):
        node.stage(of_the_other(volume))


def test_what_the_controller_forbids_ends_the_right_to_begin_again(node: Node, volume: Volume) -> None:
    interrupted(volume)
    with pytest.raises(UnsafeToFormat, match="the volume must not be formatted"):
        node.stage(replace(volume, formatting=Formatting.FORBIDDEN))
    with pytest.raises(UnsafeToFormat):
        node.stage(of_the_other(volume))


@pytest.mark.parametrize("rule", list(Formatting))
@pytest.mark.parametrize("is_interrupted", [False, True])
def test_the_header_of_a_deleted_volume_is_never_opened(
    node: Node, volume: Volume, rule: Formatting, is_interrupted: bool
) -> None:
    """Its class has the same key, and the pod is deleted and created again."""
    encrypt(str(volume.file), b"k", uuid=header_of("the deleted one"))
    if is_interrupted:
        interrupted(volume)
    for attachment in ("of-this-node@1", "of-this-node@2"):
        with pytest.raises(UnsafeToFormat, match="has the encryption header of another volume"):
            node.stage(replace(volume, formatting=rule, attachment=attachment))


def test_a_copy_is_opened_with_the_header_of_its_source_and_an_import_with_any(node: Node, volume: Volume) -> None:
    encrypt(str(volume.file), b"k", uuid=header_of("the source"))
    for header in (header_of("the source"), ""):
        with pytest.raises(HostError, match="no dm-crypt"):  # it was about to be opened
            node.stage(replace(volume, header=header, formatting=Formatting.FORBIDDEN))


def test_the_header_that_was_checked_is_the_one_that_is_used(
    node: Node, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An array may answer a second read differently, for example with a header whose derivation takes all memory."""
    encrypt(str(volume.file), b"k", uuid=volume.header)
    shim = tmp_path / "changing" / "cryptsetup"
    shim.parent.mkdir()
    destroy = f"dd if=/dev/urandom of={volume.file} bs=1M count=16 conv=notrunc status=none"
    shim.write_text(
        f'#!/bin/sh\nPATH={os.environ["PATH"]}\ncryptsetup "$@"; code=$?\n[ $1 != luksUUID ] || {destroy}\nexit $code\n'
    )
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    with pytest.raises(HostError, match="no dm-crypt"):  # the key was found
        node.stage(replace(volume, formatting=Formatting.UNKNOWN))

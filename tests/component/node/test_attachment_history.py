"""A publish_context counts for one attachment, and never again after another one has followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.node.attachment_history import KEPT, AttachmentHistory
from csi_cinderlib.node.durable_files import name_of
from tests.component.node.bed import BLOCK, Node

root = pytest.mark.root


@pytest.fixture
def history(tmp_path: Path) -> AttachmentHistory:
    return AttachmentHistory(tmp_path / "attachments")


def test_the_present_attachment_may_come_again_and_an_earlier_one_may_not(history: AttachmentHistory) -> None:
    for attachment in ("a", "a", "b", "b", "c"):
        history.enter("vol", attachment)
    for ended in ("a", "b"):
        with pytest.raises(PreconditionFailed, match="volume vol: the publish_context is from an earlier attachment"):
            history.enter("vol", ended)
    history.enter("vol", "c")
    history.enter("other", "a")


def test_it_outlives_the_process(history: AttachmentHistory) -> None:
    history.enter("vol", "a")
    history.enter("vol", "b")
    with pytest.raises(PreconditionFailed):
        AttachmentHistory(history.directory).enter("vol", "a")


def test_it_does_not_grow_for_ever(history: AttachmentHistory) -> None:
    for number in range(5 * KEPT):
        history.enter("vol", f"a{number}")
    assert (history.directory / "vol").stat().st_size < 10 * KEPT
    with pytest.raises(PreconditionFailed):
        history.enter("vol", f"a{5 * KEPT - KEPT}")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"{}", b"\xff", b"[" * 100_000])
def test_what_a_loss_of_power_damaged_refuses_nothing(content: bytes, history: AttachmentHistory) -> None:
    (history.directory / "vol").write_bytes(content)
    history.enter("vol", "b")
    history.enter("vol", "c")
    with pytest.raises(PreconditionFailed):
        history.enter("vol", "b")


def test_old_ones_are_pruned_unless_the_volume_is_staged(history: AttachmentHistory) -> None:
    for volume_id in ("gone", "staged", "new"):
        history.enter(volume_id, "a")
    for volume_id in ("gone", "staged"):
        os.utime(history.directory / volume_id, (1000, 1000))
    history.prune(2000, in_use={name_of("staged")})
    assert sorted(path.name for path in history.directory.iterdir()) == ["new", "staged"]


@root
def test_the_context_of_an_attachment_that_ended_is_not_staged_again(node: Node) -> None:
    first = node.volume(formatting=Formatting.NEVER_FORMATTED, attachment="vol-n1@1")
    node.stage(first)
    node.unstage(first)
    second = node.volume(formatting=Formatting.UNKNOWN, attachment="vol-n1@2")
    node.stage(second)
    node.unstage(second)
    with pytest.raises(PreconditionFailed, match="attached to this node again since"):
        node.stage(first)
    assert node.records.find("vol") is None


@root
def test_nor_beside_the_one_that_followed(node: Node) -> None:
    first, second = (node.volume(attachment=f"vol-n1@{number}") for number in (1, 2))
    node.stage(first, BLOCK)
    node.stage(second, BLOCK)
    with pytest.raises(PreconditionFailed, match="attached to this node again since"):
        node.stage(first, BLOCK)
    node.unstage(second)

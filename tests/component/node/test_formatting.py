"""When a file system may be made: every row of the rule, without a device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csi_cinderlib.errors import PreconditionFailed, UnsafeToFormat, Unsupported
from csi_cinderlib.host.magics import Kind
from csi_cinderlib.host.signatures import Signature
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.node.formatting import Action, Decision, decide
from csi_cinderlib.pages import REFUSAL_PAGE

EXT4 = Signature(name="ext4", kind=Kind.FILE_SYSTEM)
XFS = Signature(name="xfs", kind=Kind.FILE_SYSTEM)
NTFS = Signature(name="ntfs", kind=Kind.FILE_SYSTEM)
MD = Signature(name="linux_raid", kind=Kind.MEMBER)
LUKS = Signature(name="luks2", kind=Kind.ENCRYPTED)
GPT = Signature(name="gpt", kind=Kind.PARTITIONS)
ALL = tuple(Formatting)


def never_asked() -> bool:
    raise AssertionError("the rule does not depend on it")


@pytest.mark.parametrize("wanted", ["", "ext4", "xfs"])
def test_a_new_device_without_a_signature_gets_a_file_system(wanted: str) -> None:
    decision = decide(None, wanted, Formatting.NEVER_FORMATTED, is_blank=never_asked)
    assert decision == Decision(Action.MAKE, wanted or "ext4")


def test_a_device_of_an_earlier_attachment_is_formatted_only_if_blank() -> None:
    assert decide(None, "xfs", Formatting.UNKNOWN, is_blank=lambda: True) == Decision(Action.MAKE, "xfs")
    with pytest.raises(UnsafeToFormat, match=f"not blank .*. See {REFUSAL_PAGE}"):
        decide(None, "xfs", Formatting.UNKNOWN, is_blank=lambda: False)


@pytest.mark.parametrize("blank", [True, False])
def test_a_device_with_a_source_never_gets_one(blank: bool) -> None:
    with pytest.raises(UnsafeToFormat, match=f"the volume must not be formatted.*. See {REFUSAL_PAGE}"):
        decide(None, "ext4", Formatting.FORBIDDEN, is_blank=lambda: blank)


@pytest.mark.parametrize("rule", ALL)
@pytest.mark.parametrize(("found", "wanted"), [(EXT4, "ext4"), (EXT4, ""), (XFS, "xfs"), (XFS, "")])
def test_a_file_system_that_fits_is_used(found: Signature, wanted: str, rule: Formatting) -> None:
    assert decide(found, wanted, rule, is_blank=never_asked) == Decision(Action.USE, found.name)


@pytest.mark.parametrize("rule", ALL)
def test_another_file_system_is_an_error_that_names_both(rule: Formatting) -> None:
    with pytest.raises(PreconditionFailed, match="contains file system 'xfs', but 'ext4' was requested"):
        decide(XFS, "ext4", rule, is_blank=never_asked)
    with pytest.raises(Unsupported, match="ntfs"):
        decide(NTFS, "", rule, is_blank=never_asked)


@pytest.mark.parametrize("rule", ALL)
@pytest.mark.parametrize("found", [MD, GPT])
def test_any_other_signature_is_named_and_left_alone(found: Signature, rule: Formatting) -> None:
    with pytest.raises(UnsafeToFormat, match=f"{found.name} .*. See {REFUSAL_PAGE}"):
        decide(found, "ext4", rule, unfinished=True, is_wreck=never_asked, is_blank=never_asked)


@pytest.mark.parametrize("rule", [Formatting.NEVER_FORMATTED, Formatting.UNKNOWN])
@pytest.mark.parametrize("marked", [False, True])
def test_an_unfinished_creation_is_done_again(rule: Formatting, marked: bool) -> None:
    """Whichever node began it: the mark on the device says that nothing has used the device since."""
    for wanted in ("xfs", "ext4"):
        for found, is_wreck in ((None, never_asked), (replace(XFS, unfinished=True), never_asked), (XFS, lambda: True)):
            again = decide(found, wanted, rule, marked=marked, unfinished=True, is_wreck=is_wreck, is_blank=never_asked)
            assert again == Decision(Action.MAKE_AGAIN, wanted)


@pytest.mark.parametrize("rule", ALL)
def test_a_whole_file_system_is_used_although_its_creation_was_not_seen_to_end(rule: Formatting) -> None:
    used = decide(XFS, "xfs", rule, unfinished=True, is_wreck=lambda: False, is_blank=never_asked)
    assert used == Decision(Action.USE, "xfs")
    with pytest.raises(PreconditionFailed):
        decide(XFS, "ext4", rule, unfinished=True, is_wreck=lambda: False, is_blank=never_asked)


@pytest.mark.parametrize("rule", ALL)
def test_the_beginning_of_a_file_system_is_neither_used_nor_removed_unless_it_is_known_whose_it_is(
    rule: Formatting,
) -> None:
    begun = replace(XFS, unfinished=True)
    for wanted in ("xfs", "ext4", ""):
        with pytest.raises(UnsafeToFormat, match=f"an unfinished xfs.*. See {REFUSAL_PAGE}"):
            decide(begun, wanted, rule, is_blank=never_asked)
    with pytest.raises(UnsafeToFormat, match="an unfinished xfs"):
        decide(begun, "xfs", Formatting.FORBIDDEN, unfinished=True, is_blank=never_asked)


def test_where_formatting_is_forbidden_an_interrupted_mkfs_is_no_excuse() -> None:
    forbidden = Formatting.FORBIDDEN
    assert decide(XFS, "xfs", forbidden, unfinished=True, is_blank=never_asked) == Decision(Action.USE, "xfs")
    with pytest.raises(UnsafeToFormat):
        decide(None, "xfs", forbidden, unfinished=True, is_blank=never_asked)

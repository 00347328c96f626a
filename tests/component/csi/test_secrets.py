"""The secret fields of messages are hidden, and found to be hidden elsewhere."""

from __future__ import annotations

from csi_cinderlib.csi import secrets
from csi_cinderlib.csi.v1 import csi_pb2

CANARY = "hunter2-canary"


def test_a_message_is_shown_without_the_fields_that_the_specification_marks() -> None:
    request = csi_pb2.NodeStageVolumeRequest(
        volume_id="v", secrets={"user": CANARY}, publish_context={"connection": CANARY}, volume_context={"backend": "b"}
    )
    request.volume_capability.mount.mount_flags.append(f"password={CANARY}")
    request.volume_capability.access_mode.mode = csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    shown = secrets.shown(request)
    assert CANARY not in repr(shown)
    assert shown["volume_id"] == "v"
    assert shown["secrets"] == {"user": "***"}
    assert shown["volume_context"] == {"backend": "b"}
    assert shown["volume_capability"] == {
        "mount": {"mount_flags": "***"},
        "access_mode": {"mode": "SINGLE_NODE_WRITER"},
    }


def test_every_secret_field_of_every_csi_message_is_hidden() -> None:
    seen = 0
    for message in csi_pb2.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            if field.name in ("secrets", "publish_context"):
                filled = getattr(csi_pb2, message.name)(**{field.name: {"k": CANARY}})
                assert CANARY not in repr(secrets.shown(filled)), f"{message.name}.{field.name}"
                assert CANARY in secrets.secrets_of(filled)
                seen += 1
    assert seen == 22


def test_the_secrets_of_a_message_are_found_in_nested_messages_too() -> None:
    request = csi_pb2.CreateVolumeRequest(secrets={"a": CANARY})
    flags = request.volume_capabilities.add().mount.mount_flags
    flags.extend(["ro", "credentials=/c"])
    assert secrets.secrets_of(request) == {CANARY, "credentials=/c", "/c"}

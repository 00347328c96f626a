"""The protocol: equal to the specification, and the stubs equal to the protocol."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from grpc_tools import protoc

from scripts.generate import protos
from tools import lookup

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = {1059: "csi_secret", 1060: "alpha"}


def compiled(proto: Path, output: Path) -> descriptor_pb2.FileDescriptorProto:
    arguments = ["protoc", f"-I{proto.parent}", f"-I{files('grpc_tools') / '_proto'}", f"-o{output}", proto.name]
    assert protoc.main(arguments) == 0
    return descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file[0]


def facts(message: Message, path: str = "") -> set[str]:
    """Every value in a descriptor as a line of text; lists are keyed by name, so that order does not matter."""
    lines: set[str] = set()
    for field, value in message.ListFields():
        here = f"{path}/{field.name}"
        items = list(value) if field.is_repeated else [value]
        for item in items:
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                lines |= facts(item, f"{here}:{getattr(item, 'name', '')}")
            else:
                lines.add(f"{here} = {item}")
    # Extensions that this process does not know by class are kept as unknown fields: the bytes tell them apart.
    if not message.ListFields() or message.DESCRIPTOR.name.endswith("Options"):
        lines.add(f"{path} bytes {message.SerializeToString(deterministic=True).hex()}")
    return lines


def test_the_protocol_is_the_specification_name_by_name_and_number_by_number(tmp_path: Path) -> None:
    theirs = facts(compiled(lookup.folder("csi-specification") / "csi.proto", tmp_path / "theirs"))
    ours = facts(compiled(ROOT / "proto/csi/v1/csi.proto", tmp_path / "ours"))
    assert len(theirs) > 1000
    assert sorted(theirs ^ ours) == []


def test_the_comparison_sees_a_changed_number_a_missing_option_and_a_renamed_field(tmp_path: Path) -> None:
    text = (ROOT / "proto/csi/v1/csi.proto").read_text()
    ours = facts(compiled(ROOT / "proto/csi/v1/csi.proto", tmp_path / "ours"))
    changes = [("string staging_target_path = 3;", "string staging_target_path = 9;"), (" [(csi_secret) = true];", ";")]
    for number, (before, after) in enumerate([*changes, ("bool ready_to_use = 5;", "bool ready = 5;")]):
        changed = tmp_path / f"changed{number}.proto"
        assert before in text
        changed.write_text(text.replace(before, after, 1))
        different = {line for line in facts(compiled(changed, tmp_path / "x")) ^ ours if not line.startswith("/name")}
        assert different, after


def test_the_stubs_are_what_the_protocol_generates() -> None:
    assert protos.output().outdated() == [], "run `make proto`"


def test_secret_fields_are_marked_in_the_stubs() -> None:
    from csi_cinderlib.csi.v1 import csi_pb2

    secret = {
        f"{message.name}.{field.name}"
        for message in csi_pb2.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
        if field.GetOptions().Extensions[csi_pb2.csi_secret]
    }
    assert "CreateVolumeRequest.secrets" in secret
    assert "NodeExpandVolumeRequest.secrets" in secret
    assert {name.rpartition(".")[2] for name in secret} == {"secrets"}
    assert len(secret) == 19


def test_the_kubelet_finds_its_registration_service_under_its_own_name() -> None:
    from csi_cinderlib.csi.v1 import pluginregistration_pb2 as registration

    service = registration.DESCRIPTOR.services_by_name["Registration"]
    assert service.full_name == "pluginregistration.Registration"
    assert [method.name for method in service.methods] == ["GetInfo", "NotifyRegistrationStatus"]
    numbers = {field.name: field.number for field in registration.PluginInfo.DESCRIPTOR.fields}
    assert numbers == {"type": 1, "name": 2, "endpoint": 3, "supported_versions": 4}

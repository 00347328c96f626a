"""Lossless conversion between records and versioned JSON objects.

Empty fields are omitted. Unknown fields are kept in `record.unknown` and written again, so that an older program next to a newer one
loses nothing. With a sealer, secrets (fields marked `SECRET` in the model) move to the `sealed` object. Each sealed text contains the
identity of its record, so that it cannot be moved to another record.

The revision belongs to the store and is not part of the object. This module never logs; errors do not contain the content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from csi_cinderlib.errors import CorruptRecord, DriverError, InvalidRequest
from csi_cinderlib.model.records import Record
from csi_cinderlib.persistence.api import INDEXED, KINDS, R, Sealer
from csi_cinderlib.persistence.forms import Form
from csi_cinderlib.persistence.values import WrongValue

__all__ = [
    "BY_NAME",
    "FORMS",
    "MAX_KEY_BYTES",
    "UNOPENED",
    "VERSION",
    "Sealer",
    "decode",
    "encode",
    "encode_for_display",
    "from_text",
    "keys",
    "kind_name",
    "raw_keys",
    "to_text",
]

VERSION = 2
"""The newest version of records. Older programs must not use or change a record of a newer version than theirs. A new field does not require
one, except a field that must not be ignored (`records.SINCE_2`): a record in which it is empty keeps its version."""

MAX_KEY_BYTES = 1024
"""Limit of an id or an indexed field in UTF-8, which all stores can index."""


FORMS: Mapping[type[Record], Form] = {kind: Form(kind) for kind in KINDS}
BY_NAME: Mapping[str, type[Record]] = {form.name: kind for kind, form in FORMS.items()}
_raw_decode = json.JSONDecoder().raw_decode
_to_text = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class _Unopened:
    """See UNOPENED."""

    def seal(self, plain: bytes) -> str:  # noqa: ARG002  # required by the protocol
        raise AssertionError("a record without its secrets must not be stored")

    def open(self, text: str) -> bytes:  # noqa: ARG002  # required by the protocol
        raise AssertionError("sealed secrets are skipped, not opened")


UNOPENED: Sealer = _Unopened()
"""A substitute for a sealer, for read-only use: sealed secrets are omitted, so that records can be shown without the keys."""


def kind_name(kind: type[Record]) -> str:
    """The kind as used in messages and in the `kind` field, for example "group-snapshot"."""
    return FORMS[kind].name


def encode(record: Record, sealer: Sealer | None = None) -> dict[str, Any]:
    """Convert a record to a JSON object of plain dicts and lists.

    Raises:
        InvalidRequest: the value of a field does not match its type, or cannot be represented in JSON.
    """
    form = FORMS[type(record)]
    body: dict[str, Any] = {"v": form.version_of(record), "kind": form.name}
    try:
        form.write(record, body)
    except WrongValue as wrong:
        raise InvalidRequest(f"{form.name}.{wrong.path}", str(wrong)) from None
    if record.unknown:
        _merge(body, record.unknown)
    if sealer is not None and form.secrets:
        _seal(form, body, sealer)
    return body


def encode_for_display(record: Record) -> dict[str, Any]:
    """Convert a record without its secrets. `decode` accepts the result as a record without secrets."""
    form, body = FORMS[type(record)], encode(record)
    for path in form.secrets:
        holder, name = _holder(body, path)
        if holder is not None:
            holder.pop(name, None)
    return body


def decode(kind: type[R], body: object, *, id: str, revision: str = "", sealer: Sealer | None = None) -> R:
    """Convert the output of `encode`, of this or another version, to a record.

    Raises:
        CorruptRecord: the object is not such a record, has another id, or cannot be unsealed.
    """
    form = FORMS[kind]
    try:
        values, unknown = form.read(_opened(form, body, id, sealer))
        _same_id(values["id"], id)
    except WrongValue as wrong:
        raise CorruptRecord(form.name, id, f"{wrong.path}: {wrong}" if wrong.path else str(wrong)) from None
    del unknown["v"], unknown["kind"]
    if unknown:
        values["unknown"] = unknown
    values["revision"] = revision
    record: R = form.make(values)
    return record


def to_text(record: Record, sealer: Sealer | None = None) -> str:
    """Like `encode`, as ASCII text without white space."""
    return _to_text(encode(record, sealer))


def from_text(kind: type[R], text: str | bytes, *, id: str, revision: str = "", sealer: Sealer | None = None) -> R:
    """Like `decode`, from text. Raises CorruptRecord."""
    try:
        body = _parsed(text)
    except (ValueError, RecursionError):
        raise CorruptRecord(kind_name(kind), id, "not valid JSON") from None
    return decode(kind, body, id=id, revision=revision, sealer=sealer)


def _parsed(text: str | bytes) -> Any:
    """Parse JSON. Skips the search for surrounding white space where possible, which takes half of the time for a short text."""
    if type(text) is str and text.startswith("{"):
        body, end = _raw_decode(text)
        if end == len(text):
            return body
    return json.loads(text)


def keys(record: Record) -> dict[str, str]:
    """The id and the INDEXED fields, which a store keeps next to the body as search keys.

    Raises:
        InvalidRequest: a key is too long, or contains a character that not all stores support.
    """
    found = {"id": record.id}
    for name in INDEXED[type(record)]:
        found[name] = str(getattr(record, name))
    for name, value in found.items():
        if (not value.isascii() or len(value) > MAX_KEY_BYTES or "\0" in value) and (problem := _unfit(value)):
            raise InvalidRequest(f"{kind_name(type(record))}.{name}", problem)
    if not record.id:
        raise InvalidRequest(f"{kind_name(type(record))}.id", "must not be empty")
    return found


def raw_keys(kind: type[Record], id: str, body: object) -> dict[str, str]:
    """Like `keys`, for an object that may be unreadable. Values other than text count as empty."""
    known = body if isinstance(body, dict) else {}
    return {"id": id, **{name: value if isinstance(value := known.get(name), str) else "" for name in INDEXED[kind]}}


def _unfit(key: str) -> str:
    if "\0" in key:
        return "must not contain a NUL character"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return f"must be at most {MAX_KEY_BYTES} bytes in UTF-8 (got {size})" if size > MAX_KEY_BYTES else ""


def _opened(form: Form, body: object, id: str, sealer: Sealer | None) -> dict[str, Any]:
    """Check kind and version, and return the body with unsealed secrets. Raises WrongValue."""
    if type(body) is not dict:
        raise WrongValue("not a JSON object")
    if body.get("kind") != form.name:
        raise WrongValue(f"its kind is {body.get('kind')!r}")
    version = body.get("v")
    if type(version) is not int or version not in form.versions:
        newer = isinstance(version, int) and version > VERSION
        supported = ", ".join(map(str, form.versions))
        raise WrongValue(
            f"unsupported version {version!r}; supported: {supported}" + ("; upgrade csi-cinderlib" if newer else "")
        )
    return _unseal(form, body, body["sealed"], id, sealer) if "sealed" in body else body


def _same_id(found: str, id: str) -> None:
    if found != id:
        raise WrongValue(f"it contains the id {found!r}")


def _merge(body: dict[str, Any], unknown: Mapping[str, Any]) -> None:
    """Restore fields of a newer version, including those in nested objects and lists of objects. Known fields take precedence."""
    for name, value in unknown.items():
        present = body.setdefault(name, value)
        if present is value:
            continue
        if isinstance(present, dict) and isinstance(value, Mapping):
            _merge(present, value)
        elif isinstance(present, list) and isinstance(value, Mapping):
            for index, item in enumerate(present):
                _merge(item, value.get(str(index), {}))


def _seal(form: Form, body: dict[str, Any], sealer: Sealer) -> None:
    sealed = {}
    for path in form.secrets:
        holder, name = _holder(body, path)
        if holder is not None and name in holder:
            plain = _to_text([form.name, body["id"], path, holder.pop(name)])
            sealed[path] = sealer.seal(plain.encode())
            if not holder:
                del body[path.partition(".")[0]]
    if sealed:
        body["sealed"] = {**body.get("sealed", {}), **sealed}


def _holder(body: dict[str, Any], path: str) -> tuple[dict[str, Any] | None, str]:
    outer, dot, inner = path.partition(".")
    return (body.get(outer), inner) if dot else (body, outer)


def _unseal(form: Form, body: dict[str, Any], sealed: object, id: str, sealer: Sealer | None) -> dict[str, Any]:
    """Return a copy of the body with the secrets in their fields. Raises WrongValue."""
    if type(sealed) is not dict:
        raise WrongValue("must be an object", "sealed")
    if sealer is None:
        raise WrongValue("its secrets are sealed, and no sealing key is configured", "sealed")
    body = {name: value for name, value in body.items() if name != "sealed"}
    if sealer is UNOPENED:
        return body
    if newer := {path: text for path, text in sealed.items() if path not in form.secrets}:
        body["sealed"] = newer
    for path, text in sealed.items():
        if path in newer:
            continue
        try:
            of, of_id, of_path, value = json.loads(sealer.open(text))
        except DriverError as error:
            raise WrongValue(str(error), path) from error
        except (ValueError, TypeError):
            raise WrongValue("was not sealed by csi-cinderlib", path) from None
        if (of, of_id, of_path) != (form.name, id, path):
            raise WrongValue("belongs to another record", path)
        outer, dot, inner = path.partition(".")
        if dot:
            body[outer] = {**body.get(outer, {}), inner: value}
        else:
            body[outer] = value
    return body

"""Converts the options of one back end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from csi_cinderlib.backend.catalogue import Catalogue, Driver, Option
from csi_cinderlib.cinder import naming
from csi_cinderlib.config import former
from csi_cinderlib.conversion import native, references, secrecy
from csi_cinderlib.conversion.cinder_options import why_idle
from csi_cinderlib.conversion.model import (
    ConvertedBackend,
    GivenBackend,
    Note,
    Source,
    Verdict,
    dropped,
    failed,
    translated,
)
from csi_cinderlib.conversion.references import Scope, Unresolved

_EXPLAINED = 50
"""Limit of unknown options with suggestions per back end; each suggestion takes milliseconds."""


@dataclass(slots=True)
class _Work:
    """The state of one conversion."""

    backend: GivenBackend
    known: Mapping[str, Option]
    former: Mapping[str, str]
    """Former names that Cinder 29 still accepts, with the current names."""
    path: str
    """Class path of the driver."""
    own_names: frozenset[str]
    """Names in `known` that are not common to all drivers."""
    checked: bool
    """Whether the driver's options are known."""
    scopes: Mapping[bool, Scope] = field(repr=False)
    """Scopes of references; the key tells whether the option is inherited."""
    options: dict[str, object] = field(default_factory=dict, repr=False)
    settled: set[str] = field(default_factory=set)
    """Options with a value of their own, converted or not; inherited values do not apply to them."""
    notes: list[Note] = field(default_factory=list)


def convert(
    backend: GivenBackend, source: Source, name: str, driver: Driver | str, *, catalogue: Catalogue
) -> tuple[ConvertedBackend, list[Note]]:
    """Convert a back end.

    Args:
        name: name of the converted back end.
        driver: a driver of the catalogue, or the class path of another one, whose options are copied unchecked.
    """
    work = _begin(backend, source, name, driver, catalogue)
    for option, given in backend.own.items():
        _take(work, option, given, inherited=False)
    for option, given in backend.shared.items():
        known = _known_name(work, option)
        if known and known not in work.settled:
            _take(work, option, given, inherited=True)
        elif not known and not work.checked and option not in work.settled and not why_idle(option):
            reason = "if the driver has this option, add it to the options of the back end"
            work.notes.append(failed(f"[backend_defaults] {option}", reason))
    secret = secrecy.secret_options(work.options, work.known, unchecked=not work.checked)
    notes = [Note(note.verdict, note.item, note.reason, name) for note in work.notes]
    return ConvertedBackend(name=name, driver=work.path, options=work.options, secret=secret), notes


def _begin(backend: GivenBackend, source: Source, name: str, driver: Driver | str, catalogue: Catalogue) -> _Work:
    own = {} if isinstance(driver, str) else _own_options(driver, catalogue)
    known = {**own, **{option.name: option for option in catalogue.common}}
    synonyms = {old: option.name for option in known.values() for old in option.former_names if old not in known}
    path = driver if isinstance(driver, str) else driver.path
    places: dict[bool, Scope] = {
        inherited: Scope(
            section=backend.shared if inherited else backend.own,
            options=known,
            with_defaults=inherited or not backend.sections,
            default=source.defaults,
            sections=backend.sections,
            implied=source.implied,
        )
        for inherited in (False, True)
    }
    work = _Work(backend, known, synonyms, path, frozenset(own), not isinstance(driver, str), places)
    if isinstance(driver, str):
        work.notes.append(translated("driver", f"{driver} is not a driver of Cinder; its options are not checked"))
    if name != backend.name:
        work.notes.append(
            translated("name", f"{backend.name!r} is invalid or already used; the back end is named {name!r}")
        )
    return work


def _own_options(driver: Driver, catalogue: Catalogue) -> dict[str, Option]:
    """The options of the driver and of its vendor: some drivers register theirs only after the protocol is known."""
    vendor = f"{driver.module.partition('.')[0]}."
    related = [other for other in catalogue.drivers if f"{other.module}.".startswith(vendor)]
    return {option.name: option for other in (*related, driver) for option in other.options}


def _known_name(work: _Work, option: str) -> str:
    """The option's name in Cinder 29; "" if the driver does not have it."""
    if option in work.known or option in work.former:
        return work.former.get(option, option)
    became = former.option(option, work.path)
    return became.name if became and became.name in work.known else ""


def _take(work: _Work, item: str, given: object, *, inherited: bool) -> None:
    """Convert one option, or note the reason why it cannot be converted."""
    name = _known_name(work, item)
    reason = why_idle(item)
    if reason and name not in work.own_names:
        work.notes.append(dropped(item, reason))
        return
    if not name and not work.checked:
        name = item
    if not name:
        work.notes.append(failed(item, _why_unknown(work, item)))
        return
    if name != item and name in (work.backend.shared if inherited else work.backend.own):
        work.notes.append(dropped(item, f"is a former name of {name}, which is also set"))
        return
    if name == "volume_backend_name" and _last(given) in ("", work.backend.name):
        return
    option = work.known.get(name)
    try:
        value = _value(work, option, given, inherited=inherited)
        _refuse_references(value)
    except (Unresolved, native.Unfit) as error:
        work.settled.add(name)
        _refuse(work, item, given, str(error), option)
        return
    if value is None or (option is not None and native.is_unset(option, value)):
        work.notes.append(dropped(item, "has no value; the driver's default applies"))
        return
    work.options[name] = value
    work.settled.add(name)
    work.notes.extend(_renamed(item, name, given))


def _refuse_references(value: object) -> None:
    """Raises native.Unfit for a part of the value that would be read as `{file: PATH}` or `{env: NAME}`."""
    if isinstance(value, Mapping) and value and value.keys() <= {"file", "env"}:
        raise native.Unfit(
            "a mapping with only `file` or `env` would be read as a reference; write it as text, NAME:VALUE"
        )
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _refuse_references(part)


def _last(given: object) -> object:
    return given[-1] if isinstance(given, tuple) and given else given


def _value(work: _Work, option: Option | None, given: object, *, inherited: bool) -> object:
    if isinstance(given, tuple) and option is not None and not option.multiple:
        given = given[-1:]  # the last assignment counts
    native.refuse_characters(given)
    resolved = references.resolve(given, work.scopes[inherited])
    if option is not None:
        value = native.value(option, resolved)
        if option.choices and value not in option.choices and (history := former.why_no_value(option.name, value)):
            raise native.Unfit(history)
        return value
    if isinstance(resolved, tuple):
        return resolved[-1] if len(resolved) == 1 else list(resolved)
    return resolved


def _refuse(work: _Work, item: str, given: object, reason: str, option: Option | None) -> None:
    if option is not None and _last(given) == option.default:
        work.notes.append(dropped(item, "is the driver's default"))
    else:
        work.notes.append(failed(item, reason))


def _renamed(item: str, name: str, given: object) -> Iterator[Note]:
    if item != name:
        became = former.option(item)
        yield translated(item, str(became) if became and became.name == name else f"renamed to {name}")
    names = sorted(references.names_in(given))
    if names:
        yield translated(item, f"references replaced by their values: {', '.join(f'${found}' for found in names)}")


def _why_unknown(work: _Work, item: str) -> str:
    folded = item.replace("-", "_").lower()
    if folded in work.known:
        return f"is ignored by Cinder; the option is named {folded}"
    if sum(note.verdict is Verdict.FAILED for note in work.notes) >= _EXPLAINED:
        return "is not an option of this driver and has no effect in Cinder"
    if history := former.why_unknown(item, work.backend.own):
        return history
    return f"has no effect in Cinder; it {naming.unknown(item, work.known)}"

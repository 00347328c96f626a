"""What a conversion did, for people and for programs. No value of an option is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from csi_cinderlib.config import option_paths
from csi_cinderlib.conversion.model import Conversion, Note, Verdict
from csi_cinderlib.observe import redact

_TITLES = {Verdict.TRANSLATED: "translated", Verdict.DROPPED: "left out", Verdict.FAILED: "NOT CONVERTED"}


def text(conversion: Conversion, steps: list[str]) -> str:
    """Lines: each back end, what became of its options, what concerns all of them, and the next steps."""
    lines: list[str] = []
    for backend in conversion.backends:
        count = len(backend.options)
        lines.append(f"{backend.name}: {backend.driver}, {count} option{'' if count == 1 else 's'}")
        lines += _lines(conversion, backend.name)
    for name in dict.fromkeys(note.backend for note in conversion.notes if note.backend):
        if name not in {backend.name for backend in conversion.backends}:
            lines += [f"{name}: NOT CONVERTED", *_lines(conversion, name)]
    general = list(_lines(conversion, ""))
    lines += ["all back ends:", *general] if general else []
    return "\n".join([*lines, *(["next steps:", *(f"  {step}" for step in steps)] if steps else [])])


def _lines(conversion: Conversion, backend: str) -> Iterator[str]:
    for verdict in (Verdict.FAILED, Verdict.TRANSLATED, Verdict.DROPPED):
        for note in conversion.notes:
            if note.backend == backend and note.verdict is verdict:
                yield f"  {_TITLES[verdict]}: {note.item}: {note.reason}"


def data(conversion: Conversion, steps: list[str]) -> dict[str, object]:
    """The same as JSON."""
    names = dict.fromkeys(
        [*(backend.name for backend in conversion.backends), *(note.backend for note in conversion.notes)]
    )
    converted = {backend.name: backend for backend in conversion.backends}
    return {
        "source": conversion.product,
        "backends": [
            {
                "name": name,
                "driver": converted[name].driver if name in converted else None,
                "options": sorted(converted[name].options) if name in converted else [],
                **_by_verdict(conversion, name),
            }
            for name in names
            if name
        ],
        **_by_verdict(conversion, ""),
        "next_steps": steps,
    }


def _by_verdict(conversion: Conversion, backend: str) -> dict[str, list[dict[str, str]]]:
    return {
        verdict.value: [_item(note) for note in conversion.notes if (note.backend, note.verdict) == (backend, verdict)]
        for verdict in Verdict
    }


def _item(note: Note) -> dict[str, str]:
    return {"item": note.item, "reason": note.reason}


def is_incomplete(conversion: Conversion) -> bool:
    """Whether something has to be done by hand."""
    return any(note.verdict is Verdict.FAILED for note in conversion.notes)


def next_steps(conversion: Conversion, target: str, name: str, path: str, secret_path: str) -> list[str]:
    """What to do with the documents.

    Args:
        name: the Secret's.
        path: where the document was written, or "".
        secret_path: where the chart's secrets were written, "" if there are none.
    """
    if not conversion.backends:
        return []
    written = path or "FILE"
    steps = {
        "config": [f"check it: csi-cinderlib check --config {written}"],
        "secret": [
            f"kubectl apply --namespace NAMESPACE --filename {written}",
            f"add {name} to the chart's backendSecrets",
        ],
        "objects": [
            f"kubectl apply --namespace NAMESPACE --filename {written}",
            f"add {name} to the chart's backendSecrets: the Secret configures the back ends, the StorageBackend objects only show them",
        ],
        "chart": [
            *([f"kubectl apply --namespace NAMESPACE --filename {secret_path}"] if secret_path else []),
            f"helm upgrade --install RELEASE charts/csi-cinderlib --namespace NAMESPACE --values {written}",
            "if helm names a back end that needs controller.privileged, decide whether its controller may have it",
        ],
    }[target]
    files = [f"{backend.name}.{option}" for backend in conversion.backends for option in _of_files(backend.options)]
    if files:
        where = "the controller's machine" if target == "config" else "the controller's container (controller.volumes)"
        steps.append(f"provide on {where} the files and directories that these options name: {', '.join(files)}")
    relative = [
        f"{backend.name}.{option}" for backend in conversion.backends for option in _are_relative(backend.options)
    ]
    if relative:
        steps.append(
            f"write absolute paths for these options, which name a file by a relative one: {', '.join(relative)}"
        )
    return [*steps, _VOLUMES[conversion.product]]


_VOLUMES = {
    "OpenStack Cinder": "existing volumes stay Cinder's: docs/how-to/from-openstack-cinder.md#existing-volumes",
    "cinderlib": "existing volumes: docs/how-to/from-cinderlib.md#existing-volumes",
    "Ember-CSI": "existing volumes stay Ember-CSI's: docs/how-to/from-ember-csi.md#existing-volumes",
}


def _of_files(options: Mapping[str, object]) -> Iterator[str]:
    """Options that name a file or directory by its absolute path."""
    for name, value in options.items():
        texts = value if isinstance(value, list) else [value]
        if not redact.is_secret_key(name) and any(isinstance(text, str) and text.startswith("/") for text in texts):
            yield name


def _are_relative(options: Mapping[str, object]) -> Iterator[str]:
    """Options that name a file or directory by a path that starts elsewhere than with the other product."""
    for name, value in options.items():
        if name in option_paths.PATHS and isinstance(value, str) and option_paths.is_relative(value):
            yield name

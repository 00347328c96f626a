"""Reports a conversion as text and as JSON, without values of options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from csi_cinderlib.config import option_paths
from csi_cinderlib.conversion import documents
from csi_cinderlib.conversion.model import Conversion, Note, Verdict
from csi_cinderlib.observe import redact

_TITLES = {Verdict.TRANSLATED: "translated", Verdict.DROPPED: "left out", Verdict.FAILED: "NOT CONVERTED"}


def text(conversion: Conversion, steps: list[str]) -> str:
    """The report as text: each back end with its notes, general notes, and the next steps."""
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
    """The report as JSON."""
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
    """Whether an item must be converted by hand."""
    return any(note.verdict is Verdict.FAILED for note in conversion.notes)


def _step_of_secrets(conversion: Conversion, name: str) -> list[str]:
    names = [secret for backend in conversion.backends if (secret := documents.secret_name(name, backend))]
    return [f"add to backendObjects.secrets of the chart's values: {', '.join(names)}"] if names else []


def next_steps(conversion: Conversion, target: str, name: str, path: str, secret_path: str) -> list[str]:
    """The next steps with the documents.

    Args:
        name: name of the Secret.
        path: path of the document; "" if it was not written to a file.
        secret_path: path of the chart's secrets; "" if there are none.
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
            *_step_of_secrets(conversion, name),
            f"kubectl apply --namespace NAMESPACE --filename {written}",
            "kubectl wait --namespace NAMESPACE --for=condition=Ready backendconfiguration --all",
        ],
        "chart": [
            *([f"kubectl apply --namespace NAMESPACE --filename {secret_path}"] if secret_path else []),
            f"helm upgrade --install RELEASE charts/csi-cinderlib --namespace NAMESPACE --values {written}",
            "if helm refuses a back end without controller.privileged=true, decide whether the controller may be privileged",
        ],
    }[target]
    files = [f"{backend.name}.{option}" for backend in conversion.backends for option in _of_files(backend.options)]
    if files:
        where = "the controller's machine" if target == "config" else "the controller's container (controller.volumes)"
        steps.append(f"provide the files and directories of these options on {where}: {', '.join(files)}")
    relative = [
        f"{backend.name}.{option}" for backend in conversion.backends for option in _are_relative(backend.options)
    ]
    if relative:
        steps.append(f"write absolute paths for these options with relative paths: {', '.join(relative)}")
    return [*steps, _VOLUMES[conversion.product]]


_VOLUMES = {
    "OpenStack Cinder": "take over existing volumes: docs/how-to/adopt-cinder-volumes.md#before-you-begin",
    "cinderlib": "existing volumes: docs/how-to/from-cinderlib.md#existing-volumes",
    "Ember-CSI": "to take over the existing volumes: docs/how-to/from-ember-csi.md#existing-volumes",
}


def _of_files(options: Mapping[str, object]) -> Iterator[str]:
    """Options with the absolute path of a file or directory."""
    for name, value in options.items():
        texts = value if isinstance(value, list) else [value]
        if not redact.is_secret_key(name) and any(isinstance(text, str) and text.startswith("/") for text in texts):
            yield name


def _are_relative(options: Mapping[str, object]) -> Iterator[str]:
    """Options with a relative path, which starts at a different directory than in the other product."""
    for name, value in options.items():
        if name in option_paths.PATHS and isinstance(value, str) and option_paths.is_relative(value):
            yield name

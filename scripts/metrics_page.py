"""The reference page of the figures for Prometheus, from the code."""

from __future__ import annotations

from collections.abc import Mapping

from csi_cinderlib.observe.metrics import FIGURES, SECONDS, Figure

HEAD = f"""# Metrics

What a process answers at `http://METRICS_ADDRESS/metrics` in Prometheus' text format, if `metrics_address` is set; the chart sets it.
Besides these there are the usual `process_...` figures. Histograms have buckets from {SECONDS[0]} to {SECONDS[-1]} seconds.
[Monitor it](../how-to/monitor.md) shows what to watch.
"""

TAIL = """
`method` is a CSI method, `code` a gRPC status, `operation` the method of the Cinder driver that was called. Capacity and readiness are
looked at once a minute and not for a scrape, so that a scrape costs an array nothing and never waits for one; volumes and orphans, which
take a walk over all records, every five minutes. A pool without a limit shows `+Inf`; what a driver does not report is absent. Volumes
whose records cannot be read have the back end and the status `unreadable`.
"""


def pages() -> Mapping[str, str]:
    rows = "".join(f"| {' | '.join(_row(figure))} |\n" for figure in FIGURES)
    table = f"| name | type | labels | where | meaning |\n| --- | --- | --- | --- | --- |\n{rows}"
    return {"metrics.md": f"{HEAD}\n{table}{TAIL}"}


def _row(figure: Figure) -> tuple[str, ...]:
    labels = ", ".join(f"`{label}`" for label in figure.labels)
    return f"`{figure.name}`", figure.kind, labels, figure.where, figure.meaning

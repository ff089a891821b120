"""Metrics as text for Prometheus, and as JSON for everyone else.

The text is version 0.0.4 of the exposition format, written here because the client library renames counters that do not end in
``_total``, and the names that operators' dashboards know do not. The JSON has the shape of KumoMTA's ``/metrics.json``:
``{name: {"help", "type", "value"}}``, where a metric with a label has ``{label: {label value: number}}`` for a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite

from penstock.api.metrics import METRICS, Metric
from penstock.mail.status import Histogram, Snapshot

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

JsonValue = float | dict[str, float] | dict[str, dict[str, float]]


def to_text(snapshot: Snapshot, prefix: str = "") -> bytes:
    """The metrics whose names begin with ``prefix``, in the text format."""
    return "".join(line for metric in _named(prefix) for line in _lines(metric, snapshot)).encode()


def to_json(snapshot: Snapshot, prefix: str = "") -> dict[str, dict[str, str | JsonValue]]:
    """The metrics whose names begin with ``prefix``, ready to be encoded; those without a sample are left out."""
    return {
        metric.name: {"help": metric.help, "type": metric.kind.value, "value": value}
        for metric in _named(prefix)
        if (value := _value(metric, snapshot)) is not None
    }


def _named(prefix: str) -> Iterable[Metric]:
    return (metric for metric in METRICS if metric.name.startswith(prefix))


def _lines(metric: Metric, snapshot: Snapshot) -> Iterator[str]:
    name = metric.name
    yield f"# HELP {name} {metric.help}\n"
    yield f"# TYPE {name} {metric.kind.value}\n"
    samples = metric.read(snapshot)
    if isinstance(samples, Histogram):
        for bound, count in _cumulative(samples):
            yield f'{name}_bucket{{le="{bound}"}} {count}\n'
        yield f"{name}_sum {_number(samples.sum)}\n"
        yield f"{name}_count {sum(samples.counts)}\n"
        return
    for value, number in samples:
        labels = f'{{{metric.label}="{_escape(value)}"}}' if metric.label else ""
        yield f"{name}{labels} {_number(number)}\n"


def _value(metric: Metric, snapshot: Snapshot) -> JsonValue | None:
    samples = metric.read(snapshot)
    if isinstance(samples, Histogram):
        return {
            "bucket": {bound: float(count) for bound, count in _cumulative(samples)},
            "total": {"sum": samples.sum, "count": float(sum(samples.counts))},
        }
    values = {value: float(number) for value, number in samples}
    if metric.label:
        return {metric.label: values}
    return values.get("")


def _cumulative(histogram: Histogram) -> Iterator[tuple[str, int]]:
    total = 0
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        total += count
        yield bound, total


def _number(number: float) -> str:
    """A number as the format has it: Go's ParseFloat reads what Python writes, but for infinities."""
    if isinstance(number, int):
        return str(int(number))
    if isfinite(number):
        return repr(number)
    return "NaN" if number != number else "+Inf" if number > 0 else "-Inf"


def _escape(value: str) -> str:
    """A label's value: backslash, quote and line feed escaped; what is no Unicode replaced, so that the whole stays UTF-8."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return escaped.encode("utf-8", "replace").decode()

"""The metrics: names, numbers, bounds, and both formats, with the client library's parser as the judge."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from penstock.api.exposition import to_json, to_text
from penstock.api.metrics import LABEL_LIMIT, METRICS, bounded
from penstock.mail.duration import Seconds
from penstock.mail.status import OTHER, MailCounts, SpoolCounts

from .fake_server import snapshot

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
NUMBERS = snapshot()


def parsed(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Samples by name and labels, as Prometheus reads them. The parser adds ``_total`` to counters without it, which is undone."""
    names = {metric.name for metric in METRICS}
    return {
        (
            bare if (bare := sample.name.removesuffix("_total")) in names else sample.name,
            tuple(sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_every_metric_is_documented() -> None:
    """docs/metrics.md has exactly the metrics of the table, in its order, with their types, labels and meanings."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    documented = [tuple(cell.strip().strip("`") for cell in row.split("|")[1:5]) for row in rows]
    assert documented == [(metric.name, metric.kind.value, metric.label, metric.help) for metric in METRICS]


def test_names_are_valid_and_different() -> None:
    """A name of Prometheus' data model, once."""
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


def test_text_has_every_number_at_its_place() -> None:
    """Each sample is the number it should be, under the exact name, counters that do not end in ``_total`` too."""
    samples = parsed(to_text(NUMBERS))
    service_in, service_out = (("service", "esmtp_listener"),), (("service", "smtp_client"),)
    expected = {
        ("connection_count", service_in): 11,
        ("connection_count", service_out): 12,
        ("total_connection_count", service_in): 13,
        ("total_connection_count", service_out): 14,
        ("total_connections_denied", service_in): 15,
        ("total_messages_received", service_in): 2,
        ("total_messages_delivered", service_out): 3,
        ("total_messages_transfail", service_out): 4,
        ("total_messages_fail", service_out): 5,
        ("total_messages_expired", service_out): 6,
        ("total_messages_quarantined", ()): 8,
        ("smtp_server_rejections", service_in): 7,
        ("smtp_server_tls_handshakes_total", service_in): 25,
        ("smtp_server_tls_handshakes_failed_total", service_in): 26,
        ("smtp_server_auth_failures_total", service_in): 27,
        ("smtp_server_proxy_failures_total", service_in): 28,
        ("policy_calls_total", (("hook", "on_rcpt"),)): 61,
        ("policy_refusals_total", (("hook", "on_rcpt"),)): 62,
        ("policy_faults_total", (("hook", "on_rcpt"),)): 63,
        ("policy_late_total", (("hook", "on_rcpt"),)): 64,
        ("policy_seconds_total", (("hook", "on_rcpt"),)): 65.5,
        ("policy_waiting_calls", ()): 28,
        ("policy_lost_threads", ()): 27,
        ("total_messages_received_by_tenant", (("tenant", ""),)): 42,
        ("total_messages_delivered_by_tenant", (("tenant", "acme"),)): 53,
        ("total_messages_transfail_by_tenant", (("tenant", "acme"),)): 54,
        ("total_messages_fail_by_tenant", (("tenant", "acme"),)): 55,
        ("total_messages_expired_by_tenant", (("tenant", "acme"),)): 56,
        ("total_messages_dropped", ()): 9,
        ("total_messages_dropped_by_tenant", (("tenant", "acme"),)): 58,
        ("held_count", (("gate", "suspension"),)): 91,
        ("held_count", (("gate", "tenant-rate"),)): 92,
        ("held_count_by_tenant", (("tenant", "acme"),)): 93,
        ("held_count_by_tenant", (("tenant", ""),)): 94,
        ("tokens_refused_total", (("gate", "tenant-rate"),)): 95,
        ("directives_in_force", (("action", "suspend"),)): 96,
        ("sweeps_under_way", ()): 97,
        ("queued_recipients", ()): 1,
        ("queued_recipients_by_tenant", (("tenant", "acme"),)): 51,
        ("message_count", ()): 16,
        ("scheduled_count_total", ()): 17,
        ("scheduled_queue_count", ()): 18,
        ("scheduled_by_domain", (("domain", "dest.example"),)): 19,
        ("ready_count", (("service", "smtp_client:ip-1->mx.dest.example"),)): 20,
        ("dns_mx_resolve_cache_hit", ()): 23,
        ("dns_mx_resolve_cache_miss", ()): 24,
        ("memory_usage", ()): 21,
        ("memory_limit", ()): 22,
        ("spool_durability", (("durability", "os"),)): 1,
        ("spool_fault", ()): 1,
        ("spool_refusing", ()): 1,
        ("spool_recovering", ()): 1,
        ("spool_messages_stored_total", ()): 75,
        ("spool_sync_seconds_bucket", (("le", "0.002"),)): 0,
        ("spool_sync_seconds_bucket", (("le", "0.005"),)): 2,
        ("spool_sync_seconds_count", ()): 2,
        ("spool_sync_seconds_sum", ()): 0.007,
        ("spool_syncs_failed_total", ()): 76,
        ("spool_segments_abandoned_total", ()): 77,
        ("spool_quarantined_total", ()): 78,
        ("spool_notes_dropped_total", ()): 79,
        ("spool_fetches_total", ()): 82,
        ("spool_copied_bytes_total", ()): 80,
        ("spool_segments_removed_total", ()): 81,
        ("spool_segments", ()): 71,
        ("spool_bytes", ()): 72,
        ("spool_live_bytes", ()): 73,
        ("spool_body_files", ()): 74,
        ("spool_free_bytes", ()): 83,
        ("event_log_lines_total", ()): 31,
        ("event_log_bytes_total", ()): 32,
        ("event_log_dropped_total", ()): 33,
        ("event_log_files_total", ()): 34,
        ("event_log_waiting_bytes", ()): 35,
        ("event_log_fault", ()): 1,
        ("event_log_flush_seconds_bucket", (("le", "0.0001"),)): 0,
        ("event_log_flush_seconds_bucket", (("le", "0.0005"),)): 1,
        ("event_log_flush_seconds_bucket", (("le", "5.0"),)): 1,
        ("event_log_flush_seconds_bucket", (("le", "+Inf"),)): 2,
        ("event_log_flush_seconds_count", ()): 2,
        ("event_log_flush_seconds_sum", ()): 9.0002,
        ("handed_over_total", (("fate", "stored"),)): 71,
        ("handed_over_total", (("fate", "not stored"),)): 72,
        ("handed_over_total", (("fate", "uncertain"),)): 73,
        ("handed_over_total", (("fate", "unsent"),)): 74,
        ("loop_lag_seconds", ()): 0.25,
        ("process_loop_lag_seconds", (("process", "0"),)): 0.25,
        ("process_loop_lag_seconds", (("process", "scribe"),)): 0.125,
        ("process_memory_bytes", (("process", "0"),)): 1000,
        ("process_memory_bytes", (("process", "scribe"),)): 500,
        ("process_config_epoch", (("process", "0"),)): 3,
        ("process_config_epoch", (("process", "scribe"),)): 4,
        ("process_silent", (("process", "0"),)): 0,
        ("process_silent", (("process", "scribe"),)): 1,
        ("config_epoch", ()): 3,
        ("process_start_time_seconds", ()): 1_700_000_000.5,
    }
    assert {key: samples[key] for key in expected} == expected
    assert {name for name, _ in samples} == {name for name, _ in expected}


def test_types_are_declared() -> None:
    """Every metric has one HELP and one TYPE line before its samples."""
    text = to_text(NUMBERS).decode()
    for metric in METRICS:
        assert (
            f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind.value}\n{metric.name}"
            in text
        )


def test_json_has_the_same_numbers() -> None:
    """One object per metric; a label nests, as KumoMTA's JSON does."""
    document = to_json(NUMBERS)
    assert msgspec.json.decode(msgspec.json.encode(document)) == document
    assert list(document) == [metric.name for metric in METRICS]
    assert document["message_count"] == {"help": "messages stored", "type": "gauge", "value": 16.0}
    assert document["connection_count"]["value"] == {"service": {"esmtp_listener": 11.0, "smtp_client": 12.0}}
    histogram = document["event_log_flush_seconds"]["value"]
    assert isinstance(histogram, dict)
    assert histogram["total"] == {"sum": 9.0002, "count": 2.0}


def test_no_limit_is_no_sample() -> None:
    """A memory limit that is not there is not 0."""
    numbers = msgspec.structs.replace(NUMBERS, memory_limit=None)
    assert ("memory_limit", ()) not in parsed(to_text(numbers))
    assert "memory_limit" not in to_json(numbers)


def test_a_spool_in_memory_is_on_no_file_system() -> None:
    """Nothing is free there, which is not 0."""
    numbers = msgspec.structs.replace(NUMBERS, spool=SpoolCounts())
    samples = parsed(to_text(numbers, "spool_"))
    assert samples["spool_durability", (("durability", "memory"),)] == 1
    assert samples["spool_fault", ()] == samples["spool_refusing", ()] == samples["spool_recovering", ()] == 0
    assert ("spool_free_bytes", ()) not in samples


def test_labels_are_bounded() -> None:
    """Ten thousand random domains and paths are a thousand, the largest, and the sum of the rest."""
    many = {f"d{number}.example": number for number in range(10_000)}
    numbers = msgspec.structs.replace(NUMBERS, scheduled_by_domain=many, ready=many)
    samples = parsed(to_text(numbers))
    for name in ("scheduled_by_domain", "ready_count"):
        shown = {labels[0][1]: value for (found, labels), value in samples.items() if found == name}
        assert len(shown) == LABEL_LIMIT + 1
        assert sum(shown.values()) == sum(many.values())
        assert shown[OTHER] == sum(range(9000))


@given(
    st.dictionaries(st.text(max_size=3) | st.just(OTHER), st.integers(0, 100), max_size=12), st.integers(1, 6)
)
def test_bound_loses_nothing(values: dict[str, float], limit: int) -> None:
    """The sum is always the sum, and no name is shown twice."""
    pairs = list(bounded(values, limit))
    assert sum(value for _, value in pairs) == sum(values.values())
    assert len(dict(pairs)) == len(pairs) <= limit + 1


@given(st.text(st.characters(), max_size=20))
def test_any_label_can_be_read_back(name: str) -> None:
    """Backslashes, quotes, line ends: a name from outside stays inside its quotes."""
    numbers = msgspec.structs.replace(NUMBERS, scheduled_by_domain={name: 5})
    text = to_text(numbers, "scheduled_by_domain")
    assert text.count(b"\n") == 3
    [((_, ((_, value),)), number)] = parsed(text).items()
    assert (value, number) == (name.encode("utf-8", "replace").decode(), 5)


@pytest.mark.parametrize(
    ("number", "text"),
    [(float("inf"), b"+Inf"), (float("-inf"), b"-Inf"), (float("nan"), b"NaN"), (1e-7, b"1e-07")],
)
def test_numbers_that_are_none_are_written_as_the_format_has_them(number: float, text: bytes) -> None:
    """Prometheus reads Go's names of them."""
    numbers = msgspec.structs.replace(NUMBERS, loop_lag=Seconds(number))
    assert to_text(numbers, "loop_lag").endswith(b" " + text + b"\n")


def test_tenants_are_shown_as_they_are_tallied() -> None:
    """The tally is bounded; its own ``:other`` is shown under that name."""
    numbers = msgspec.structs.replace(NUMBERS, tenants={OTHER: MailCounts(received=9)})
    assert to_text(numbers, "total_messages_received_by").endswith(b'{tenant=":other"} 9\n')

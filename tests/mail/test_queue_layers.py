"""What holds of a queue, laid together from tables."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.configuration import QueueConfig, QueuesConfig
from penstock.mail.queue_layers import LayerKey, QueueLayer, QueueLayers
from penstock.mail.queue_name import QueueName
from penstock.mail.rate import Rate, parse_rate

DOMAINS = ("example.com", "a.example.com", "b.a.example.com", "com", "[192.0.2.1]")
PATTERNS = (None, "example.com", "a.example.com", "*.example.com", "*.com", "*.a.example.com")
TENANTS = (None, "one", "two")
CAMPAIGNS = (None, "red", "blue")
FIELDS = ("max_age", "retry_interval", "egress_pool")

keys = st.tuples(st.sampled_from(PATTERNS), st.sampled_from(TENANTS), st.sampled_from(CAMPAIGNS)).filter(
    lambda key: key[1] is not None or key[2] is None
)
layers_ = st.builds(
    QueueLayer,
    st.dictionaries(st.sampled_from(FIELDS), st.integers(1, 99)),
    routing_domain=st.none() | st.sampled_from(["hub.example", "example.com"]),
    overall=st.none() | st.just(Rate(5, 60.0, 5)),  # type: ignore[arg-type]
)
names = st.builds(QueueName, st.sampled_from(DOMAINS), st.sampled_from(TENANTS), st.sampled_from(CAMPAIGNS))


def made(tables: dict[LayerKey, QueueLayer]) -> QueueLayers:
    """The layers of these tables."""
    return QueueLayers(
        tables,
        frozenset(pattern for pattern, _, _ in tables if pattern is not None),
        any(layer.routing_domain for layer in tables.values()),
    )


def is_about(pattern: str | None, domain: str) -> bool:
    """Whether a table's domain has this one among its names."""
    if pattern is None or pattern == domain:
        return True
    return pattern.startswith("*.") and domain.endswith(pattern[1:]) and not domain.startswith("[")


def of_name(tables: dict[LayerKey, QueueLayer], name: QueueName) -> list[tuple[LayerKey, QueueLayer]]:
    """By the words of the documentation: the tables about a queue, the widest first."""
    fitting = {pattern for pattern, _, _ in tables if pattern is not None and is_about(pattern, name.domain)}
    chosen = name.domain if name.domain in fitting else max(fitting, key=len, default=None)
    about = [
        (key, layer)
        for key, layer in tables.items()
        if key[0] in (None, chosen) and key[1] in (None, name.tenant) and key[2] in (None, name.campaign)
    ]
    order = [(False, False, False), (True, False, False), (False, True, False), (False, True, True)]
    order += [(True, True, False), (True, True, True)]
    return sorted(about, key=lambda item: order.index(tuple(part is not None for part in item[0])))  # type: ignore[arg-type]


@given(st.dictionaries(keys, layers_, max_size=12), names)
def test_what_a_narrower_table_says_wins_key_by_key(
    tables: dict[LayerKey, QueueLayer], name: QueueName
) -> None:
    """Against the documented order, literally."""
    expected: dict[str, object] = {}
    routing = None
    about = of_name(tables, name)
    for _, layer in about:
        expected |= layer.options
        routing = layer.routing_domain or routing
    layers = made(tables)
    config = QueuesConfig(layers=layers).resolve(name)
    assert config == msgspec.structs.replace(QueueConfig(), **expected, overall=config.overall)
    found = layers.routing_domain_of(name.domain, name.tenant, name.campaign)
    assert found == (None if routing == name.domain else routing)
    shared = [key for key, layer in about if key[0] is None and key[1] is not None and layer.overall]
    assert [limit.gate for limit in config.overall] == [
        "campaign-rate" if key[2] is not None else "tenant-rate" for key in reversed(shared)
    ]


@given(st.dictionaries(keys, layers_, max_size=12), st.lists(names, min_size=2, max_size=8))
def test_queues_with_the_same_key_have_the_same_options(
    tables: dict[LayerKey, QueueLayer], some: list[QueueName]
) -> None:
    """So one record serves them all; and it is no more than it has to be."""
    layers = made(tables)
    for one, other in itertools.combinations(some, 2):
        about = [of_name(tables, name) for name in (one, other)]
        same = layers.key_of(one.domain, one.tenant, one.campaign) == layers.key_of(
            other.domain, other.tenant, other.campaign
        )
        assert not same or about[0] == about[1]


@pytest.mark.parametrize(
    ("domain", "pattern"),
    [
        ("example.com", None),
        ("a.example.com", "*.example.com"),
        ("c.b.a.example.com", "*.b.a.example.com"),
        ("b.a.example.com", "*.example.com"),
        ("notexample.com", None),
        ("mail.other.org", "mail.other.org"),
        ("[192.0.2.1]", None),
    ],
)
def test_the_most_specific_pattern_is_the_one(domain: str, pattern: str | None) -> None:
    """A pattern is about the names below its own, however deep."""
    known = ("*.example.com", "*.b.a.example.com", "mail.other.org", "*.other.org", "*.0.2.1]")
    assert made({(each, None, None): QueueLayer() for each in known}).pattern_of(domain) == pattern


def test_rates_that_queues_share_are_named_by_whose_they_are() -> None:
    """The same in every lane, whichever queue asks."""
    rate = parse_rate("5/minute")
    layers = made({
        (None, "one", None): QueueLayer(overall=rate, overall_origin="q.toml: tenant.one.overall"),
        (None, "one", "red"): QueueLayer(overall=rate),
    })  # fmt: skip
    queues = QueuesConfig(layers=layers)
    for domain in DOMAINS:
        limits = queues.resolve(QueueName(domain, "one", "red")).overall
        assert [(limit.gate, limit.key) for limit in limits] == [
            ("campaign-rate", "campaign:red:one"),
            ("tenant-rate", "tenant:one"),
        ]
        assert limits[1].origin == "q.toml: tenant.one.overall"
    assert queues.resolve(QueueName("example.com", "two", "red")).overall == ()
